"""The error for sound files."""

from __future__ import annotations

import os
import shlex

from aasp.errors import AaspError


class AudioError(AaspError):
    """A sound file is unusable.

    Attributes:
        path: the file.
        reason: what is wrong with it.
        remedy: what to do.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, remedy: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}; {remedy}")
        self.path = os.fspath(path)
        self.reason = reason
        self.remedy = remedy


def check_folder(path: str) -> None:
    """Check, for a file that was there and can't be read any more, that its folder still exists.

    Raises:
        AaspError: it does not, as when a disk or network drive is gone; skipping its files would silently lose them.
    """
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        remedy = "bring it back, then start the same command again: what is done is kept"
        raise AaspError(f"folder of the data is gone: {folder}; {remedy}")


RAW = "if it holds sound, import it as raw samples, of the rate and channels that you know, in an audio editor"
"""The remedy for a file whose header is wrong."""


def quoted(path: str | os.PathLike[str]) -> str:
    """A file's name quoted for a shell and for ffmpeg, whatever characters it has."""
    name = os.fspath(path)
    return shlex.quote(f"./{name}" if name.startswith("-") or (":" in name and name[0] not in "/.") else name)


def salvage(path: str | os.PathLike[str]) -> str:
    """The remedy for a partly readable file."""
    return f"fetch it again, or keep what is left of it: ffmpeg -i {quoted(path)} kept.wav"
