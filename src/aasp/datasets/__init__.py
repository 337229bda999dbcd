"""Sets of sound files: their contents, and batches of random crops."""
