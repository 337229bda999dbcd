"""A model answering over HTTP, on loopback: embeddings and classes of sounds that are sent, within limits.

One request goes this way: `gate` (who may ask, how many at once, how long), `app` (routes, what comes in and goes out),
`sounds` (decoded in another process), `batches` (waiting sounds computed together), `answers` (the model).
"""
