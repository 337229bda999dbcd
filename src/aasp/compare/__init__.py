"""Comparisons: recipes trained alike, measured alike at several points of the training, with paired intervals."""
