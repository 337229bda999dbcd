"""Duplicate recordings in an index: the same bytes, or the same waveform with another encoding, gain or cut.

Bytes are compared by their hash. For the rest, each row's nearest rows are candidates, by the model's vectors and by a
signature that does not depend on gain, as a model's vectors do; the waveforms decide (`aasp.index.same_recording`),
since vectors alone can't distinguish a recording from another take. Source: ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from aasp.audio.io import AudioError
from aasp.audio.sounds import duration, read_sound
from aasp.datasets.index import Skipped
from aasp.evaluate.features import Progress
from aasp.index.neighbours import neighbours
from aasp.index.opened import Index
from aasp.index.same_recording import MAX_SECONDS, RATE, SAME, correlation, signature, whitened

NEAREST = 8
"""Candidates per row by the model, and the same number by the signature; none from the row's own file."""
_KEPT = 1920.0  # seconds of waveforms in memory: 120 MB


class Duplicate(NamedTuple):
    """Two rows of the same recording.

    Attributes:
        row, other: their numbers.
        same: "bytes", "waveform", or "chain": both are copies of another row (`aasp.index.leaks`).
        similarity: cosine of their vectors.
        correlation: of their waveforms; 1 if the bytes are the same; the smallest of a chain.
        later: by how many seconds the sound is later in `other`, each from the start of its row's sound.
    """

    row: int
    other: int
    same: str
    similarity: float
    correlation: float
    later: float


def duplicates(
    index: Index,
    threshold: float,
    skipped: list[Skipped],
    progress: Progress | None = None,
    parts: Sequence | None = None,
) -> Iterator[Duplicate]:
    """Pairs of rows of the same recording, at most one for two files.

    Of several files with the same bytes, each is paired with the first, or with the first that has a part.

    Args:
        index: the index to search. Every row is compared with every other: 10^5 rows of 192 take one core a minute.
        threshold: cosine by the model from which two rows are compared by their waveforms.
        skipped: files that can't be read for it are added.
        progress: called with (pairs of files compared by their waveforms, pairs in total).
        parts: each row's part of the dataset, None for none (`aasp.index.leaks.parts_of`).
    """
    paths = index.rows["path"].to_pylist()
    first, copies = _copies(index, paths, parts)
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
    seconds = min(MAX_SECONDS, index.settings.window or MAX_SECONDS)
    middle = functools.lru_cache(int(_KEPT / seconds))(lambda row: _whitened_middle(index, row))
    readable = set(rows.tolist())
    cosine = lambda pair: float(np.dot(*index.vectors[list(pair)].astype(np.float32)))
    for done, pairs in enumerate(found[key] for key in sorted(found)):
        if progress is not None:
            progress(done, len(found))
        for row, other in _likeliest_first((pair for pair in pairs if readable.issuperset(pair)), cosine):
            (one, mine), (two, theirs) = middle(row), middle(other)
            alike, later = correlation(one, two)
            if alike >= SAME:
                yield Duplicate(row, other, "waveform", cosine((row, other)), alike, later + theirs - mine)
                break


def _copies(index: Index, paths: Sequence[str], parts: Sequence | None) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Rows of one file of each content; and pairs of files with equal bytes, by their first rows.

    The file is the first one that has a part, or else the first.
    """
    hashes = index.rows["hash"].to_pylist()
    row_of: dict[str, int] = {}
    for row, path in enumerate(paths):
        row_of.setdefault(path, row)
    kept: dict[str, int] = {}  # first row of the file, by the hash
    for row in row_of.values():
        if hashes[row] is not None:
            first = kept.setdefault(hashes[row], row)
            if parts is not None and parts[first] is None and parts[row] is not None:
                kept[hashes[row]] = row
    first_of = [kept.get(text, row_of[path]) for path, text in zip(paths, hashes, strict=True)]
    own = [row for row, path in enumerate(paths) if first_of[row] == row_of[path]]
    copies = [(min(row, first_of[row]), max(row, first_of[row])) for row in row_of.values() if first_of[row] != row]
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


def _likeliest_first(
    pairs: Iterable[tuple[int, int]], cosine: Callable[[tuple[int, int]], float]
) -> list[tuple[int, int]]:
    """Pairs of rows by falling cosine, but those of one row together, so that its sound is read once."""
    ordered = sorted(pairs, key=cosine, reverse=True)
    place = {row: number for number, row in enumerate(dict.fromkeys(row for row, _ in ordered))}
    return sorted(ordered, key=lambda pair: place[pair[0]])


def _signatures(index: Index, rows: np.ndarray, skipped: list[Skipped]) -> tuple[np.ndarray, np.ndarray]:
    """The readable rows, and their signatures minus the mean of all, of unit length."""
    made: dict[int, np.ndarray] = {}
    unread: set[str] = set()
    for row in rows.tolist():
        try:
            made[row] = signature(_middle(index, row)[0])
        except AudioError as error:
            if error.path not in unread:
                skipped.append(Skipped(error.path, error.reason))
            unread.add(error.path)
    if not made:
        return np.zeros(0, np.int64), np.zeros((0, 1), np.float32)
    x = np.stack(list(made.values()))
    x = x - x.mean(0)
    return np.array(list(made), np.int64), (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


def _middle(index: Index, row: int) -> tuple[np.ndarray, float]:
    """The middle of a row's sound, as long as is compared, and the second at which it starts."""
    sound = index.recording(row)
    seconds = duration(sound)
    start = round(max(0.0, (seconds - MAX_SECONDS) / 2) * RATE) / RATE
    return read_sound(sound, rate=RATE, start=start, seconds=min(seconds, MAX_SECONDS)), start


def _whitened_middle(index: Index, row: int) -> tuple[np.ndarray, float]:
    wave, start = _middle(index, row)
    return whitened(wave), start
