"""The exception for user mistakes, and its subclass for a run that lost a process."""

from __future__ import annotations

import re

_MAX_LENGTH = 16_384


class AaspError(ValueError):
    """A user's mistake, reported in one line that names the thing, the value and the remedy.

    The command line prints it without a traceback and exits with `exit_code`. Characters that a terminal would
    interpret or not show, such as those in a file's name, are escaped; a line break becomes a space.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(re.sub(r"\s*[\r\n]+\s*", " ", message)))


class ProcessLost(AaspError):
    """Another process of the run ended early; this one can't continue without it.

    Args:
        message: which process, and why if that is known.
        exit_code: that of the other process, or 75, "try again".
    """

    def __init__(self, message: str, exit_code: int = 75) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def one_line(text: str) -> str:
    """A text with unprintable characters except tabs escaped: line breaks, control characters, lone surrogates.

    A text longer than any message of ours with the longest paths loses its middle.
    """
    if len(text) > _MAX_LENGTH:
        text = f"{text[: _MAX_LENGTH // 2]} … {text[-_MAX_LENGTH // 2 :]}"
    if text.isprintable():
        return text
    shown = lambda letter: letter.isprintable() or letter == "\t"
    return "".join(letter if shown(letter) else letter.encode("unicode_escape").decode() for letter in text)


def shown(value: object, most: int = 80) -> str:
    """A value as a message quotes it, cut after `most` characters: values from a file may be long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
