"""Files that occur twice in a set: an error in two parts, reported in one part."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aasp.audio.packed import file_of, place
from aasp.audio.remote import is_url
from aasp.audio.sounds import Excerpt, Mixture, Sound, describe, files
from aasp.errors import AaspError


class Repeat(NamedTuple):
    """A row whose sound also occurs in an earlier row."""

    row: int
    first: int


def repeats(sounds: Sequence[Sound]) -> list[Repeat]:
    """The rows whose sound also occurs in an earlier row: by the same path, another path to it, or a link."""
    first: dict[Hashable, int] = {}
    numbers = _Numbers()
    pairs = ((row, first.setdefault(_key(sound, numbers), row)) for row, sound in enumerate(sounds))
    # A file system's inode numbers can be reused or made up, so each match is verified.
    return [Repeat(row, one) for row, one in pairs if row != one and _same(sounds[row], sounds[one])]


def keep_apart(sounds: Sequence[Sound], parts: Sequence[str] | np.ndarray, found: Sequence[Repeat]) -> None:
    """Check that no sound is in two parts, or in two folds.

    Raises:
        AaspError: one is, so that it would be trained on and tested.
    """
    torn = [repeat for repeat in found if parts[repeat.row] != parts[repeat.first]]
    if torn:
        row, first = torn[0]
        if sounds[row] == sounds[first]:
            where = f"in '{parts[first]}' (row {first + 1:,}) and in '{parts[row]}' (row {row + 1:,})"
        else:
            where = f"in '{parts[first]}', and as {describe(sounds[row])} in '{parts[row]}'"
        more = f" ({len(torn):,} are such)" if len(torn) > 1 else ""
        remedy = "what is trained on can't be tested: keep it in one part or fold"
        raise AaspError(f"{describe(sounds[first])} is {where}{more}; {remedy}")


def joined(groups: np.ndarray, found: Sequence[Repeat]) -> np.ndarray:
    """Groups (rows,) in which those that share a sound are one, under the name of the first of them."""
    if not found:
        return groups
    names, number = np.unique(groups, return_inverse=True)
    rows, firsts = np.array(found).T
    shared = coo_array((np.ones(len(rows)), (number[rows], number[firsts])), shape=(len(names), len(names)))
    _, part = connected_components(shared, directed=False)
    _, first = np.unique(part[number], return_index=True)
    return groups[first][part[number]]


class _Numbers:
    """The identity of files in the file system, independent of their paths. Each folder is listed once; only links need
    a `stat`."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, tuple[int, int]]] = {}

    def of(self, path: str) -> Hashable:
        """Device and inode of a file; its path if it does not exist, or a URL. For a part of a file, also its place."""
        found = place(path)
        if found is not None:
            return self.of(found.archive), found.begin, found.size, found.row
        if is_url(path):
            return path
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = {}
            with contextlib.suppress(OSError):
                device = os.stat(folder).st_dev
                with os.scandir(folder) as entries:
                    self._folders[folder] = {entry.name: _number(entry, device) for entry in entries}
        return self._folders[folder].get(name, path)


def _number(entry: os.DirEntry[str], device: int) -> tuple[int, int]:
    if entry.is_symlink():
        with contextlib.suppress(OSError):  # a broken link
            status = entry.stat()
            return status.st_dev, status.st_ino
    return device, entry.inode()


def _key(sound: Sound, numbers: _Numbers) -> Hashable:
    if isinstance(sound, Mixture):
        return tuple((numbers.of(one.path), one.gain_db, one.offset) for one in sound.ingredients)
    if isinstance(sound, Excerpt):
        return numbers.of(sound.path), sound.start, sound.seconds
    (path,) = files(sound)
    return numbers.of(path)  # without the channel: channels of one file must not be trained on and tested


def _same(one: Sound, other: Sound) -> bool:
    if one == other or not (isinstance(one, str) and isinstance(other, str)):
        return True
    one, other = file_of(one), file_of(other)
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False
