"""Numerical tools, independent of audio and models."""
