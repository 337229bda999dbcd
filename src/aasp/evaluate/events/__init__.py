"""Sound event detection: from probabilities over time to events, and their scores."""
