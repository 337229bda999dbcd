"""Sound events: from probabilities over time to events, and how much of it is right."""
