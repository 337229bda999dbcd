"""The one exception for what a user got wrong."""

from __future__ import annotations


class AaspError(ValueError):
    """A user's mistake, told in one line that names the thing, the value and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """
