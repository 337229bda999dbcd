"""A model over HTTP, on loopback: embeddings and classes of uploaded sounds, within limits.

A request passes through `gate` (access, concurrency, time limit), `app` (routes, parsing and responses), `sounds`
(decoding in another process), `batches` (sounds computed together), `answers` (the model).
"""
