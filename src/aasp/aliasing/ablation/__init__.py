"""Ablations: recipes that differ in one thing, trained and measured identically, compared with intervals."""
