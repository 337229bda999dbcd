"""A fingerprint of a set of sounds: a hash of the content of some of its files.

Source: ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import sha256

import numpy as np

from aasp.audio import parquet_rows, remote
from aasp.audio.error import AudioError
from aasp.audio.packed import Place, file_of, place
from aasp.audio.sounds import Sound, files

FILES = 256
"""Number of files that are read, evenly spaced in a larger set, so that a million files do not delay the start."""
BYTES = 1 << 16
"""Bytes read at the beginning and at the end of each file."""


def contents(count: int, sound: Callable[[int], Sound]) -> str:
    """Hash of the sizes, beginnings and ends of a set's sounds (256 of them in a larger set), 16 hexadecimal digits.

    A sound in a shard or a Parquet file has the hash of the same bytes in a file of their own. Nothing is fetched from
    a store: its size and hash of an object count, or the checksum in an address.

    Args:
        count: number of sounds in the set.
        sound: returns the sound of a row.

    Raises:
        AaspError: a store can't be reached.
    """
    digest = sha256(f"{count};".encode())
    for row in np.unique(np.linspace(0, count - 1, min(count, FILES)).round().astype(int)):
        for path in files(sound(int(row))):
            try:
                digest.update(_seen(path))
            except (OSError, AudioError):
                digest.update(b"gone;")
    return digest.hexdigest()[:16]


def stamps(sounds: Iterable[Sound]) -> str:
    """Hash of the sizes and times of all files of some sounds; a file that is gone or in a store counts as "gone"."""
    digest = sha256()
    for path in (path for sound in sounds for path in files(sound)):
        try:
            status = os.stat(file_of(path))
            digest.update(f"{status.st_size} {status.st_mtime_ns};".encode())
        except OSError:
            digest.update(b"gone;")
    return digest.hexdigest()


def _seen(path: str) -> bytes:
    """What is hashed of a sound."""
    found = place(path)
    if remote.is_url(path if found is None else found.archive):
        return _described(path, found)
    if found is not None and found.row is not None:
        content = parquet_rows.read(found.archive, found.row, path)
        return f"{len(content)};".encode() + content[:BYTES] + content[-BYTES:]
    with open(path if found is None else found.archive, "rb") as file:
        held = os.fstat(file.fileno()).st_size
        begin, size = (0, held) if found is None else (found.begin, found.size or 0)
        file.seek(begin)
        first = file.read(min(BYTES, size))
        file.seek(begin + max(0, size - BYTES))
        return f"{size};".encode() + first + file.read(min(BYTES, size))


def _described(path: str, found: Place | None) -> bytes:
    """What is known of a sound in a store without fetching it."""
    if found is not None and found.crc is not None:
        return f"{found.size};{found.crc:08x};".encode()
    facts = remote.facts(path if found is None else found.archive)
    where = "" if found is None else f"{found.begin};{found.size};{found.row};"
    return f"{facts.size};{facts.hash or facts.version};{where}".encode()
