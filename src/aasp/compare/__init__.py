"""Comparisons: recipes trained and measured in the same way, at several points of training, with paired intervals."""
