"""The one exception for what a user got wrong."""

from __future__ import annotations


class AaspError(ValueError):
    """A user's mistake, told in one line that names the thing, the value and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


def shown(value: object, most: int = 80) -> str:
    """A value as a message quotes it, cut off after so many letters: what a file holds may be long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
