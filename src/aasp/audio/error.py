"""The one error of sound files."""

from __future__ import annotations

import os

from aasp.errors import AaspError


class AudioError(AaspError):
    """A sound file that can't be used.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, remedy: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}; {remedy}")
        self.path = os.fspath(path)
        self.reason = reason


def salvage(path: str | os.PathLike[str]) -> str:
    """The remedy for a file of which a part is still there."""
    return f"fetch it again, or keep what is left of it: ffmpeg -i {os.fspath(path)} kept.wav"
