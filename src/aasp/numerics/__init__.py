"""Numerical tools that know nothing of sound or models."""
