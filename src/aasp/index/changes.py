"""What has changed since an index was last updated: files that are new, changed, gone, or unchanged.

A file is unchanged if its size and time are the same; if only its time differs, the SHA-256 of its content decides. A
file is dropped if the folder or manifest it came from no longer has it; files of sources that are not named are kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from aasp.audio.io import AudioError
from aasp.audio.packed import file_of, on_disk
from aasp.audio.remote import is_url, located
from aasp.datasets.channel_column import COLUMN
from aasp.datasets.index import Skipped
from aasp.datasets.sources import listed
from aasp.errors import AaspError
from aasp.index.layout import COLUMNS, joined

OWN = (*COLUMNS, COLUMN)
"""Columns that an index fills in itself: a manifest's column of the same name is renamed."""
_MEASURED = ("rate", "channels")


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


def root_of(source: str) -> str:
    """The root folder of an index with this as its first source; relative paths start there."""
    where = located(source)
    if is_url(where):
        return os.sep
    where = os.path.abspath(where)
    return where if os.path.isdir(where) else os.path.dirname(where)


def listing(
    sources: Sequence[str], root: str, path_column: str | None, skipped: list[Skipped], notes: list[str]
) -> pa.Table:
    """Every named file once: `path`, relative if it is below the root, `source`, and other columns.

    Args:
        sources: folders, manifests, shards, as in `aasp.datasets.sources`.
        root: the index's root folder.
        path_column: the manifests' column of paths.
        skipped: unusable files are added to it.
        notes: other notes are added to it, one line each.

    Raises:
        AaspError: a source does not exist, or has no sound; a manifest chooses channels.
    """
    tables = []
    for source in sources:
        table, said, _ = listed(located(source), skipped, path_column)
        notes += said
        if COLUMN in table.column_names:
            text = f"its column {COLUMN} chooses channels file by file"
            raise AaspError(f"{source}: {text}, and an index has one choice: leave the column out, and use --channels")
        table = table.rename_columns(
            [f"own_{n}" if n in OWN and n not in ("path", "seconds") else n for n in table.column_names]
        )
        name = located(source)
        table = table.append_column("source", pa.array([name if is_url(name) else os.path.abspath(name)] * len(table)))
        tables.append(table)
    table = joined(tables)
    paths = [below(path or "", root) for path in table["path"].to_pylist()]
    first: dict[str, int] = {}
    for row, path in enumerate(paths):
        first.setdefault(path, row)
    table = table.set_column(table.column_names.index("path"), "path", pa.array(paths, pa.string()))
    if len(first) < len(paths):
        notes.append(f"named more than once, and indexed once: {len(paths) - len(first):,} file(s)")
        table = table.take(pa.array(list(first.values()), pa.int64()))
    return table


def below(path: str, root: str) -> str:
    """A path relative to the root if it is below it, else unchanged."""
    start = os.path.join(root, "")
    return path[len(start) :] if path.startswith(start) and path != start else path


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
        whole = os.path.join(root, path)
        now = stamp(whole)
        if is_url(file_of(path)) or (now.size, now.modified) == (sizes[number], times[number]):
            continue
        if (
            now.size is not None
            and now.size == sizes[number]
            and hashes[number] is not None
            and content(whole) == hashes[number]
        ):
            touched[path] = now.modified or 0
        else:
            other.add(path)
            new.append(row)
    mine = set(sources)
    gone = {
        path
        for path, source in zip(paths, rows["source"].to_pylist(), strict=True)
        if path not in place and source in mine
    }
    kept = np.array([n for n, path in enumerate(paths) if path not in other and path not in gone], np.int64)
    left = rows.take(pa.array(kept))
    left = _labelled(_retimed(left, touched), found, place)
    return Changes(new, kept, left, len(other), len(gone))


def _retimed(rows: pa.Table, touched: dict[str, int]) -> pa.Table:
    if not touched:
        return rows
    old = zip(rows["path"].to_pylist(), rows["modified"].cast(pa.int64()).to_pylist(), strict=True)
    times = pa.array([touched.get(path, time) for path, time in old], pa.int64()).cast(COLUMNS["modified"])
    return rows.set_column(rows.column_names.index("modified"), "modified", times)


def _labelled(rows: pa.Table, found: pa.Table, place: dict[str, int]) -> pa.Table:
    """The rows, in the same order, with their label columns replaced by the current ones if their file was found."""
    labels = label_columns(found)
    there = [place.get(path) for path in rows["path"].to_pylist()]
    ours = np.array([row is not None for row in there], bool)
    here = rows.filter(pa.array(ours))
    here = here.select([name for name in here.column_names if name in OWN])
    taken = found.take(pa.array([row for row in there if row is not None], pa.int64()))
    for name in labels:
        here = here.append_column(name, taken[name])
    if not labels and here.column_names == rows.column_names:
        return rows
    back = np.argsort(np.concatenate([np.flatnonzero(ours), np.flatnonzero(~ours)]), kind="stable")
    return joined([here, rows.filter(pa.array(~ours))]).take(pa.array(back)).combine_chunks()


def label_columns(found: pa.Table) -> list[str]:
    """The label columns of a listing."""
    return [name for name in found.column_names if name not in OWN and name not in _MEASURED]


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
