"""The one exception for what a user got wrong, and its kin for what befell a run."""

from __future__ import annotations

import re

_LONGEST = 16_384


class AaspError(ValueError):
    """A user's mistake, reported in one line that names the thing, the value and the remedy.

    The command line prints it without a traceback and exits with `exit_code`. What a terminal would obey or not show,
    of a file's name say, is escaped; an end of a line is a space.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(re.sub(r"\s*[\r\n]+\s*", " ", message)))


class ProcessLost(AaspError):
    """Another process of the run has ended before its time; this one can't continue without it.

    Args:
        message: which, and why, where that is known.
        exit_code: the other one's, or 75, "try again".
    """

    def __init__(self, message: str, exit_code: int = 75) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def one_line(text: str) -> str:
    """A text with what is not printable, tabs apart, as an escape: ends of lines, control marks, lone surrogates.

    Of one that is longer than any message of ours, with the longest paths in it, the middle is left out.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    if text.isprintable():
        return text
    shown = lambda letter: letter.isprintable() or letter == "\t"
    return "".join(letter if shown(letter) else letter.encode("unicode_escape").decode() for letter in text)


def shown(value: object, most: int = 80) -> str:
    """A value as a message quotes it, cut off after so many letters: what a file holds may be long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
