"""Duplicate recordings in an index: the same bytes, or the same waveform with another encoding, gain or cut.

Bytes are compared by their hash. For the rest, each row's nearest rows are candidates, by the model's vectors and by a
signature that does not depend on gain, as a model's vectors do; the waveforms decide (`aasp.index.same`), since vectors
alone can't distinguish a recording from another take. Source: ours.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from aasp.audio.io import AudioError
from aasp.audio.sounds import duration, read_sound
from aasp.datasets.index import Skipped
from aasp.errors import AaspError
from aasp.evaluate.features import Progress
from aasp.index.neighbours import neighbours
from aasp.index.opened import Index
from aasp.index.same import LONGEST, RATE, SAME, correlation, signature, whitened

NEAREST = 8
"""Candidates per row by the model, and the same number by the signature; none from the row's own file."""
PARTS = ("split", "fold")
"""Columns that give a row's part of the dataset."""
_TRIED = 4  # row pairs of two recordings
_KEPT = 64  # waveforms in memory: 120 MB


class Duplicate(NamedTuple):
    """Two rows of the same recording.

    Attributes:
        row, other: their numbers.
        same: "bytes", or "waveform".
        similarity: cosine of their vectors.
        correlation: of their waveforms; 1 if the bytes are the same.
        later: by how many seconds the sound is later in `other`.
    """

    row: int
    other: int
    same: str
    similarity: float
    correlation: float
    later: float


def duplicates(
    index: Index, threshold: float, skipped: list[Skipped], progress: Progress | None = None
) -> Iterator[Duplicate]:
    """Pairs of rows of the same recording; of several copies each is paired with the first, or with its nearest copy.

    Args:
        index: the index to search. Every row is compared with every other: 10^5 rows of 192 take one core a minute.
        threshold: cosine by the model from which two rows are compared by their waveforms.
        skipped: files that can't be read for it are added.
        progress: called with (pairs of files compared by their waveforms, pairs in total).
    """
    paths = index.rows["path"].to_pylist()
    first, copies = _copies(index, paths)
    for row, other in copies:
        similarity = float(np.dot(index.vectors[row].astype(np.float32), index.vectors[other].astype(np.float32)))
        yield Duplicate(row, other, "bytes", similarity, 1.0, 0.0)
    files = {path: number for number, path in enumerate(dict.fromkeys(paths))}
    file_of = np.array([files[path] for path in paths], np.int64)
    found: dict[tuple[int, int], set[tuple[int, int]]] = {}
    own = index.vectors if len(first) == len(index) else index.vectors[first]
    _propose(found, own, first, file_of, threshold)
    rows, signatures = _signatures(index, first, skipped)
    _propose(found, signatures, rows, file_of, -1.0)
    wave = functools.lru_cache(_KEPT)(lambda row: whitened(_middle(index, row)))
    readable = set(rows.tolist())
    cosine = lambda pair: float(np.dot(*index.vectors[list(pair)].astype(np.float32)))
    for done, pairs in enumerate(found[key] for key in sorted(found)):
        if progress is not None:
            progress(done, len(found))
        likely = sorted((pair for pair in pairs if readable.issuperset(pair)), key=cosine, reverse=True)
        for row, other in likely[:_TRIED]:
            alike, later = correlation(wave(row), wave(other))
            if alike >= SAME:
                yield Duplicate(row, other, "waveform", cosine((row, other)), alike, later)
                break


def _copies(index: Index, paths: Sequence[str]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Rows of files whose bytes differ from all earlier files; pairs of equal files, each by its first row."""
    of_hash: dict[str, str] = {}
    row_of: dict[str, int] = {}
    own: list[int] = []
    copies: list[tuple[int, int]] = []
    for row, (path, text) in enumerate(zip(paths, index.rows["hash"].to_pylist(), strict=True)):
        first = path if text is None else of_hash.setdefault(text, path)
        if first == path:
            own.append(row)
        elif path not in row_of:
            copies.append((row_of[first], row))
        row_of.setdefault(path, row)
    return np.array(own, np.int64), copies


def _propose(
    found: dict[tuple[int, int], set[tuple[int, int]]],
    vectors: np.ndarray,
    rows: np.ndarray,
    file_of: np.ndarray,
    threshold: float,
) -> None:
    """Add pairs of a row and its nearest rows of other files, keyed by the files, if their cosine is large enough.

    Args:
        found: the pairs are added to it.
        vectors: unit vectors, one for each of `rows`.
        rows: row numbers of the index.
        file_of: the file of each row of the index.
        threshold: the smallest cosine.
    """
    others, _ = neighbours(vectors, NEAREST, threshold, file_of[rows])
    places, ranks = np.nonzero(others >= 0)
    for row, other in zip(rows[places].tolist(), rows[others[places, ranks]].tolist(), strict=True):
        one, two = min(row, other), max(row, other)
        key = (min(file_of[one], file_of[two]), max(file_of[one], file_of[two]))
        found.setdefault(key, set()).add((one, two))


def _signatures(index: Index, rows: np.ndarray, skipped: list[Skipped]) -> tuple[np.ndarray, np.ndarray]:
    """The readable rows, and their signatures minus the mean of all, of unit length."""
    made: dict[int, np.ndarray] = {}
    unread: set[str] = set()
    for row in rows.tolist():
        try:
            made[row] = signature(_middle(index, row))
        except AudioError as error:
            if error.path not in unread:
                skipped.append(Skipped(error.path, error.reason))
            unread.add(error.path)
    if not made:
        return np.zeros(0, np.int64), np.zeros((0, 1), np.float32)
    x = np.stack(list(made.values()))
    x = x - x.mean(0)
    return np.array(list(made), np.int64), (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


def _middle(index: Index, row: int) -> np.ndarray:
    """The middle of a row's sound, as long as is compared."""
    sound = index.recording(row)
    seconds = duration(sound)
    start = max(0.0, (seconds - LONGEST) / 2)
    return read_sound(sound, rate=RATE, start=start, seconds=min(seconds, LONGEST))


def parts_of(index: Index, column: str | None) -> list | None:
    """Each row's part of the dataset: from a column, or from `split` or `fold` if there is one.

    Raises:
        AaspError: there is no such column.
    """
    names = index.rows.column_names
    if column is not None and column not in names:
        raise AaspError(f"{index.folder}: no column {column!r}; it has {', '.join(names)}")
    named = column or next((name for name in PARTS if name in names), None)
    return None if named is None else index.rows[named].to_pylist()


def leaks(found: Sequence[Duplicate], parts: Sequence) -> list[Duplicate]:
    """Pairs whose rows are in different parts; a row without a part is in none."""
    known = lambda one: parts[one.row] is not None and parts[one.other] is not None
    return [one for one in found if known(one) and parts[one.row] != parts[one.other]]
