"""The one exception for what a user got wrong, and its kin for what befell a run."""

from __future__ import annotations


class AaspError(ValueError):
    """A user's mistake, told in one line that names the thing, the value and the remedy.

    The command line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class ProcessLost(AaspError):
    """Another process of the run has ended before its time; this one can't go on without it.

    Args:
        message: which, and why, where that is known.
        exit_code: the other one's, or 75, "try again".
    """

    def __init__(self, message: str, exit_code: int = 75) -> None:
        super().__init__(message)
        self.exit_code = exit_code
