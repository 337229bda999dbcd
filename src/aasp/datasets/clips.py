"""Clips by row, and a hash that identifies a set of clips."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Protocol

import numpy as np
import pyarrow as pa

from aasp.audio.sounds import Sound, describe
from aasp.datasets.index import shared_folder
from aasp.datasets.manifest import Manifest

_HASHED = 16_384  # names per batch


class Clips(Protocol):
    """The source of a pipeline; a `Manifest` is one.

    Attributes:
        source: name of the source, for messages.
        seconds: durations (clips,).
    """

    @property
    def source(self) -> str: ...

    @property
    def seconds(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def sound(self, row: int) -> Sound:
        """One clip."""


def listing(clips: Clips) -> str:
    """Hash of the files' names in order, without their common folder, so that sets may be moved."""
    if not isinstance(clips, Manifest):
        return names_hash([describe(clips.sound(row)) for row in range(len(clips))])
    batches = (part.to_pylist() for chunk in clips.names.chunks for part in _parts(chunk))
    return _hash(shared_folder(clips.names), batches)


def names_hash(names: Sequence[str]) -> str:
    """The hash of `listing` for names: 16 hexadecimal digits."""
    return _hash(shared_folder(names), [names])


def _hash(folder: str, batches: Iterable[Sequence[str]]) -> str:
    digest, folder, between = sha256(), folder.removesuffix(os.sep), ""
    for names in batches:  # never a million strings at once
        text = between + "\0".join(name.removeprefix(folder) for name in names)
        digest.update(text.encode("utf-8", "surrogateescape"))
        between = "\0"
    return digest.hexdigest()[:16]


def _parts(chunk: pa.Array) -> Iterable[pa.Array]:
    return (chunk.slice(first, _HASHED) for first in range(0, len(chunk), _HASHED))
