"""Recordings that an index holds twice: the same bytes, or the same waveform under another encoding, gain or cut.

Bytes are compared by their hash. Of the rest, each row's nearest rows are candidates, by the model, and by a signature
that no gain changes, as a model's vectors do; the waveforms decide (`aasp.index.same`): vectors alone can't tell a
recording from another take of it. Source: ours.
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
"""Candidates of a row by the model, and as many by the signature; none of its own file."""
PARTS = ("split", "fold")
"""Columns that say what part of a set a row is in."""
_TRIED = 4  # moments of two recordings
_KEPT = 64  # waveforms in memory: 120 MB


class Duplicate(NamedTuple):
    """Two rows of one recording.

    Attributes:
        row, other: their numbers.
        same: "bytes", or "waveform".
        similarity: cosine of their vectors.
        correlation: of their waveforms; 1 where the bytes are the same.
        later: seconds by which a sound stands later in `other`.
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
    """Pairs of rows of one recording; of several copies each with the first, or with the one that is nearest to it.

    Args:
        index: that is searched. Every row is compared with every other: 10^5 rows of 192 take a minute of a core.
        threshold: cosine by the model from which two rows are compared by their waveforms.
        skipped: takes what can't be read for that.
        progress: called with (pairs of files compared by their waveforms, all).
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
    heard, signatures = _signatures(index, first, skipped)
    _propose(found, signatures, heard, file_of, -1.0)
    wave = functools.lru_cache(_KEPT)(lambda row: whitened(_middle(index, row)))
    readable = set(heard.tolist())
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
    """Rows of files whose bytes no earlier file has; and pairs of files of the same bytes, each by its first row."""
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
    """Add each row and its nearest of other files, by the two files, where their cosine is large enough.

    Args:
        found: takes them.
        vectors: of unit length, one for each of `rows`.
        rows: numbers of rows of the index.
        file_of: the file of each row of the index.
        threshold: of the cosine.
    """
    others, _ = neighbours(vectors, NEAREST, threshold, file_of[rows])
    places, ranks = np.nonzero(others >= 0)
    for row, other in zip(rows[places].tolist(), rows[others[places, ranks]].tolist(), strict=True):
        one, two = min(row, other), max(row, other)
        key = (min(file_of[one], file_of[two]), max(file_of[one], file_of[two]))
        found.setdefault(key, set()).add((one, two))


def _signatures(index: Index, rows: np.ndarray, skipped: list[Skipped]) -> tuple[np.ndarray, np.ndarray]:
    """The rows that can be read, and their signatures about the mean of all, of unit length."""
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
    """The middle of a row's sound, as much as is compared."""
    sound = index.recording(row)
    seconds = duration(sound)
    start = max(0.0, (seconds - LONGEST) / 2)
    return read_sound(sound, rate=RATE, start=start, seconds=min(seconds, LONGEST))


def parts_of(index: Index, column: str | None) -> list | None:
    """Each row's part of the set: of a column, else of `split` or `fold`, where there is one.

    Raises:
        AaspError: there is no such column.
    """
    names = index.rows.column_names
    if column is not None and column not in names:
        raise AaspError(f"{index.folder}: no column {column!r}; it has {', '.join(names)}")
    named = column or next((name for name in PARTS if name in names), None)
    return None if named is None else index.rows[named].to_pylist()


def leaks(found: Sequence[Duplicate], parts: Sequence) -> list[Duplicate]:
    """Those whose rows are in two parts; a row without a part is in none."""
    known = lambda one: parts[one.row] is not None and parts[one.other] is not None
    return [one for one in found if known(one) and parts[one.row] != parts[one.other]]
