"""Sound files in, samples out."""
