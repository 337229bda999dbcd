"""Sound events: from probabilities over time to what was heard when, and how much of it is right."""
