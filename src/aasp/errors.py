"""The one exception for what a user got wrong."""

from __future__ import annotations

_LONGEST = 16_384


class AaspError(ValueError):
    """A user's mistake, told in one line that names the thing, the value and the remedy.

    The command line prints it without a traceback and exits with code 2. What a terminal would obey or not show, of a
    file's name say, is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """A text with what is not printable as an escape: ends of lines, control and direction marks, lone surrogates.

    Of one that is longer than any message of ours, with the longest paths in it, the middle is left out.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def shown(value: object, most: int = 80) -> str:
    """A value as a message quotes it, cut off after so many letters: what a file holds may be long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
