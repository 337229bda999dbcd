"""Sets of sound files: what they hold, and random crops of them in batches."""
