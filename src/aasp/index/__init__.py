"""An index of sounds: their vectors and where they are, made step by step, and searched exactly."""

from aasp.index.opened import Index

__all__ = ["Index"]
