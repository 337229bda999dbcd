"""An index of sounds: their vectors and their locations, built incrementally and searched exactly."""

from aasp.index.opened import Index

__all__ = ["Index"]
