"""Clips by row, and a hash that identifies a set of clips."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    digest = sha256()
    batches: Iterator[list[str]]
    if isinstance(clips, Manifest):
        folder = shared_folder(clips.names)
        batches = (part.to_pylist() for chunk in clips.names.chunks for part in _parts(chunk))
    else:
        every = [describe(clips.sound(row)) for row in range(len(clips))]
        folder, batches = shared_folder(every), iter([every])
    folder, between = folder.removesuffix(os.sep), ""
    for names in batches:  # never a million strings at once
        text = between + "\0".join(name.removeprefix(folder) for name in names)
        digest.update(text.encode("utf-8", "surrogateescape"))
        between = "\0"
    return digest.hexdigest()[:16]


def _parts(chunk: pa.Array) -> Iterator[pa.Array]:
    return (chunk.slice(first, _HASHED) for first in range(0, len(chunk), _HASHED))
