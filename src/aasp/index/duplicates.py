"""Recordings that an index holds twice: the same bytes, or the same waveform under another encoding, gain or cut.

Bytes are compared by their hash. Of the rest, each row's nearest rows by the model are candidates, and the waveforms
decide (`aasp.index.same`): an embedding alone can't tell a recording from another take of it. Source: ours.
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
from aasp.index.nearest import nearest
from aasp.index.opened import Index
from aasp.index.same import LONGEST, RATE, SAME, correlation, whitened

NEAREST = 8
"""Candidates of a row, those of its own recording apart."""
PARTS = ("split", "fold")
"""Columns that say what part of a set a row is in."""
_QUERIES = 256  # rows compared with all at a time
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
        index: that is searched. Every row is compared with every other: 10^5 rows of 192 take two minutes of a core.
        threshold: cosine from which two rows are compared by their waveforms.
        skipped: takes what can't be read for that.
        progress: called with (pairs compared by their waveforms, all).
    """
    paths = index.rows["path"].to_pylist()
    first, copies = _copies(index, paths)
    for row, other in copies:
        similarity = float(np.dot(index.vectors[row].astype(np.float32), index.vectors[other].astype(np.float32)))
        yield Duplicate(row, other, "bytes", similarity, 1.0, 0.0)
    candidates = _candidates(index, paths, first, threshold)
    wave = functools.lru_cache(_KEPT)(lambda row: _wave(index, row))
    unread: set[str] = set()
    for done, (row, other, similarity) in enumerate(candidates):
        if progress is not None:
            progress(done, len(candidates))
        try:
            found, later = correlation(wave(row), wave(other))
        except AudioError as error:
            if error.path not in unread:
                skipped.append(Skipped(error.path, error.reason))
            unread.add(error.path)
            continue
        if found >= SAME:
            yield Duplicate(row, other, "waveform", similarity, found, later)


def _copies(index: Index, paths: Sequence[str]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Rows of files whose bytes no earlier file has; and pairs of files of the same bytes, each by its first row."""
    of_hash: dict[str, str] = {}
    row_of: dict[str, int] = {}
    own: list[int] = []
    copies: list[tuple[int, int]] = []
    for row, (path, told) in enumerate(zip(paths, index.rows["hash"].to_pylist(), strict=True)):
        first = path if told is None else of_hash.setdefault(told, path)
        if first == path:
            own.append(row)
        elif path not in row_of:
            copies.append((row_of[first], row))
        row_of.setdefault(path, row)
    return np.array(own, np.int64), copies


def _candidates(index: Index, paths: Sequence[str], rows: np.ndarray, threshold: float) -> list[tuple[int, int, float]]:
    """(row, other, cosine) of pairs that may be of one recording, one for each two files, in order of the rows."""
    number = {path: n for n, path in enumerate(dict.fromkeys(paths))}
    files = np.array([number[path] for path in paths], np.int64)
    best: dict[tuple[int, int], tuple[int, int, float]] = {}
    among = None if len(rows) == len(index) else rows
    for begin in range(0, len(rows), _QUERIES):
        some = rows[begin : begin + _QUERIES]
        found, similarities = nearest(index.vectors, index.vectors[some], NEAREST, among, (files, files[some]))
        for row, others, cosines in zip(some.tolist(), found.tolist(), similarities.tolist(), strict=True):
            for other, cosine in zip(others, cosines, strict=True):
                if cosine < threshold:
                    continue
                pair = (min(row, other), max(row, other))
                key = (int(min(files[row], files[other])), int(max(files[row], files[other])))
                if key not in best or cosine > best[key][2]:
                    best[key] = (*pair, cosine)
    return sorted(best.values())


def _wave(index: Index, row: int) -> np.ndarray:
    """The middle of a row's sound, whitened."""
    sound = index.recording(row)
    seconds = duration(sound)
    start = max(0.0, (seconds - LONGEST) / 2)
    return whitened(read_sound(sound, rate=RATE, start=start, seconds=min(seconds, LONGEST)))


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
