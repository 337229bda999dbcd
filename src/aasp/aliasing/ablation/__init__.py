"""Ablations: recipes that differ in one thing, trained alike, measured alike, compared with intervals."""
