"""The one error of sound files."""

from __future__ import annotations

import os
import shlex

from aasp.errors import AaspError


class AudioError(AaspError):
    """A sound file that can't be used.

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
    """See, of a file that was there and can't be read any more, that its folder is still there.

    Raises:
        AaspError: it is gone: a disk or a network drive is, and to leave out its files would be to lose them silently.
    """
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        remedy = "bring it back, then start the same command again: what is done is kept"
        raise AaspError(f"folder of the data is gone: {folder}; {remedy}")


RAW = "if it holds sound, import it as raw samples, of the rate and channels that you know, in an audio editor"
"""The remedy for a file whose header can't be right."""


def quoted(path: str | os.PathLike[str]) -> str:
    """A file's name as a shell and ffmpeg take it for a name, whatever is in it."""
    name = os.fspath(path)
    return shlex.quote(f"./{name}" if name.startswith("-") or (":" in name and name[0] not in "/.") else name)


def salvage(path: str | os.PathLike[str]) -> str:
    """The remedy for a file of which a part is still there."""
    return f"fetch it again, or keep what is left of it: ffmpeg -i {quoted(path)} kept.wav"
