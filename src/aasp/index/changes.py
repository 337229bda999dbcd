"""What has changed since an index was last updated: files that are new, changed, gone, or unchanged.

A file is unchanged if its size and time are the same; if only its time differs, the SHA-256 of its content decides. A
file is dropped if the folder or manifest it came from no longer has it; files of sources that are not named are kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aasp.audio.io import AudioError
from aasp.audio.packed import file_of, on_disk
from aasp.audio.remote import is_url
from aasp.index.layout import COLUMNS
from aasp.index.listing import label_columns, whole


@dataclass(frozen=True)
class Stamp:
    """A file's size in bytes and modification time in nanoseconds; None if it is not a local file."""

    size: int | None = None
    modified: int | None = None


@dataclass(frozen=True)
class Changes:
    """The changes to make.

    Attributes:
        new: rows of `listing` to embed.
        kept: numbers of the index's rows that stay.
        rows: the updated columns of these rows.
        changed, gone: how many of the index's files have changed, or are gone.
    """

    new: list[int]
    kept: np.ndarray
    rows: pa.Table
    changed: int
    gone: int


def stamp(path: str) -> Stamp:
    """A file's size and time; empty if it is gone, or in an object store."""
    if is_url(file_of(path)):
        return Stamp()
    try:
        status = os.stat(file_of(path))
    except (OSError, ValueError):
        return Stamp()
    return Stamp(status.st_size, status.st_mtime_ns)


def content(path: str) -> str | None:
    """SHA-256 of a sound's bytes in hex; None if it is in an object store, or can't be read."""
    if is_url(file_of(path)):
        return None
    try:
        with on_disk(path) as file, open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, ValueError, AudioError):
        return None


def changes(rows: pa.Table, found: pa.Table, root: str, sources: Sequence[str]) -> Changes:
    """Compare an index's rows with the files found.

    Args:
        rows: the index's rows.
        found: the result of `listing`.
        root: the index's root folder.
        sources: files of these sources are dropped if they were not found; compared with the rows' `source`.
    """
    paths = rows["path"].to_pylist()
    first: dict[str, int] = {}
    for number, path in enumerate(paths):
        first.setdefault(path, number)
    sizes, hashes = rows["size"].to_pylist(), rows["hash"].to_pylist()
    times = rows["modified"].cast(pa.int64()).to_pylist()
    new: list[int] = []
    other: set[str] = set()
    touched: dict[str, int] = {}
    place: dict[str, int] = {}
    for row, path in enumerate(found["path"].to_pylist()):
        place[path] = row
        if path not in first:
            new.append(row)
            continue
        number = first[path]
        file = whole(path, root)
        now = stamp(file)
        if is_url(file_of(path)) or (now.size, now.modified) == (sizes[number], times[number]):
            continue
        if (
            now.size is not None
            and now.size == sizes[number]
            and hashes[number] is not None
            and content(file) == hashes[number]
        ):
            touched[path] = now.modified or 0
        else:
            other.add(path)
            new.append(row)
    mine = set(sources)
    folders = tuple(os.path.join(source, "") for source in sources if os.path.isdir(source))
    deleted = lambda file: file.startswith(folders) and stamp(file) == Stamp()  # first named by another source
    gone = {
        path
        for path, source in zip(paths, rows["source"].to_pylist(), strict=True)
        if path not in place and (source in mine or deleted(whole(path, root)))
    }
    kept = np.array([n for n, path in enumerate(paths) if path not in other and path not in gone], np.int64)
    left = rows.take(pa.array(kept))
    left = _labelled(_retimed(left, touched), found, place, mine)
    return Changes(new, kept, left, len(other), len(gone))


def _retimed(rows: pa.Table, touched: dict[str, int]) -> pa.Table:
    if not touched:
        return rows
    old = zip(rows["path"].to_pylist(), rows["modified"].cast(pa.int64()).to_pylist(), strict=True)
    times = pa.array([touched.get(path, time) for path, time in old], pa.int64()).cast(COLUMNS["modified"])
    return rows.set_column(rows.column_names.index("modified"), "modified", times)


def _labelled(rows: pa.Table, found: pa.Table, place: dict[str, int], named: Collection[str]) -> pa.Table:
    """The rows, in the same order, with the current labels of the files that were found.

    Labels that the listing does not have stay, unless the source that a row came from is named: it has them no longer.
    """
    there = pa.array([place.get(path) for path in rows["path"].to_pylist()], pa.int64())
    other = pa.array([source not in named for source in rows["source"].to_pylist()], pa.bool_())
    keeps = pc.or_(other, pc.is_null(there))
    labels = label_columns(found)
    for name in dict.fromkeys([*labels, *label_columns(rows)]):
        now = pc.take(found[name], there) if name in labels else pa.nulls(len(rows))
        if name not in rows.column_names:
            rows = rows.append_column(name, now)
            continue
        was = rows[name]
        if now.type != was.type and name in labels:
            now, was = (column.cast(pa.string()) for column in (now, was))
        kept = pc.if_else(keeps, was, pa.nulls(len(rows), was.type))
        column = pc.coalesce(now.cast(was.type), kept)
        index = rows.column_names.index(name)
        gone = column.null_count == len(rows) and name not in labels
        rows = rows.remove_column(index) if gone else rows.set_column(index, name, column)
    return rows.combine_chunks()


def windows(seconds: float, window: float | None, hop: float | None, shortest: float) -> Iterator[tuple[float, float]]:
    """Start and length of each window of a recording; the whole recording if there is no window.

    The last window ends with the recording, and is omitted if it is too short to be embedded.
    """
    if window is None or hop is None or seconds <= window:
        yield 0.0, seconds
        return
    number = 0
    while number == 0 or (number - 1) * hop + window < seconds:
        start = number * hop
        length = min(window, seconds - start)
        if length >= shortest:
            yield start, length
        number += 1
