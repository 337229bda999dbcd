"""The files of a set and their durations, from a folder, a CSV or a Parquet index, as Arrow columns.

A million rows are a few flat buffers, not a million objects. Unusable files are never left out silently: they are
returned as `Skipped`, with the reason.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from aasp.audio.channels import Channels, checked
from aasp.audio.io import probe
from aasp.audio.remote import located
from aasp.audio.sounds import Recording, Sound, describe
from aasp.datasets.channel_column import COLUMN, choices
from aasp.datasets.index import Skipped
from aasp.datasets.measured import measure
from aasp.datasets.shard_folder import changed
from aasp.datasets.sources import listed
from aasp.errors import AaspError
from aasp.files import atomic_write

WORKERS = 8
_HASHED = 16_384  # paths per batch


class NothingUsable(AaspError):
    """Every file of a set was skipped; `skipped` lists them."""

    def __init__(self, message: str, skipped: list[Skipped]) -> None:
        super().__init__(message)
        self.skipped = skipped


@dataclass(frozen=True)
class Manifest:
    """The usable files of a set.

    Attributes:
        table: columns `path` (absolute), `seconds`, `rate` (Hz) and `channels` (both null if not probed), then the
            index's own columns.
        source: the folder or index it was read from.
        notes: remarks, one line each: hidden files that were left out, rows that repeat a file.
    """

    table: pa.Table
    source: str
    notes: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        path_column: str | None = None,
        channels: Channels | str = "mean",
    ) -> tuple[Manifest, list[Skipped]]:
        """List a set's usable files, as cheaply as its index allows.

        A `seconds` column is trusted: such a file must exist and not be empty, but is not opened. If an index has no
        such column, or a value is missing or not positive, and for folders, headers are probed. A wrong value of
        `seconds` causes no silent error: a crop beyond the end of a file raises when it is decoded. `scan` checks all.

        Args:
            path: a folder (searched recursively, in sorted order, without hidden files and folders), or a .csv, .tsv or
                .parquet file with a `path` column; relative paths in it are relative to its own folder. A CSV column
                has integers if all its values are integers as written; else strings.
                Also tar shards, Parquet files with a column of sounds, folders and patterns of these, and URLs
                (`aasp.datasets.sources`).
            path_column: an index's column of paths, if not `path`.
            channels: which channels of multi-channel files are read (`aasp.audio.channels`), unless the index's own
                column `channel` has a choice. With "each" a file has one row per channel.

        Returns:
            The manifest, in the index's order, and the files left out.

        Raises:
            AaspError: no such path, no `path` column, or no audio in the folder.
            NothingUsable: no file is usable.
        """
        manifest, skipped = _open(path, workers=WORKERS, trusting=True, path_column=path_column)
        return manifest.choosing(channels), skipped

    def __len__(self) -> int:
        return self.table.num_rows

    def sound(self, row: int) -> Sound:
        """The sound of a row, with its choice of channels if that is not the mean."""
        path = self.table["path"][row].as_py()
        channels = self.table[COLUMN][row].as_py() if COLUMN in self.table.column_names else "mean"
        return path if channels in (None, "mean") else Recording(path, checked(channels))

    @property
    def paths(self) -> list[str]:
        """All paths, as a new list."""
        return self.table["path"].to_pylist()

    @property
    def names(self) -> pa.ChunkedArray:
        """The identity of a clip: its path, and its channel unless it is the mean."""
        paths = self.table["path"]
        if COLUMN not in self.table.column_names:
            return paths
        choice = self.table[COLUMN].cast(pa.string())
        whole = pc.fill_null(pc.equal(choice, "mean"), True)
        return pc.if_else(whole, paths, pc.binary_join_element_wise(paths, pc.fill_null(choice, ""), " channels "))

    @property
    def seconds(self) -> np.ndarray:
        """Durations in seconds, float64 (files,)."""
        return self.table["seconds"].to_numpy()

    @property
    def total_hours(self) -> float:
        return float(self.seconds.sum()) / 3600

    def column(self, name: str) -> np.ndarray:
        """One column as an array (files,): numbers, or strings as objects.

        Raises:
            AaspError: there is no such column.
        """
        if name not in self.table.column_names:
            raise AaspError(f"{self.source}: no column {name!r}; it has {', '.join(self.table.column_names)}")
        return self.table[name].to_numpy()

    def marks(self, name: str) -> np.ndarray:
        """One column of labels or groups as text, str (files,).

        Raises:
            AaspError: there is no such column, or a row has no value.
        """
        values = self.column(name).tolist()
        empty = [row for row, value in enumerate(values) if value is None or value != value or not str(value).strip()]
        if empty:
            where = f"{len(empty):,} of {len(values):,} clips have none, the first {describe(self.sound(empty[0]))}"
            raise AaspError(f"{self.source}, column {name}: {where}; fill the column, or remove these clips")
        return np.array([str(value).strip() for value in values])

    def choosing(self, default: Channels | str) -> Manifest:
        """The manifest with the choice of channels in every row, one row per channel for "each"."""
        found = choices(self.table, self.source, default)
        if set(found) <= {"mean"}:
            plain = COLUMN not in self.table.column_names or set(self.table[COLUMN].to_pylist()) <= {None, "mean"}
            return self if plain else replace(self, table=self.table.drop_columns(COLUMN))  # empty cells
        paths, counts = self.paths, self.table["channels"].to_pylist()
        rows: list[int] = []
        chosen: list[str] = []
        for row, choice in enumerate(found):
            count = (counts[row] or probe(paths[row]).channels) if choice == "each" else 1
            rows += [row] * count
            chosen += map(str, range(1, count + 1)) if choice == "each" else [str(choice)]
        table = self.table.take(pa.array(rows))
        if COLUMN in table.column_names:
            table = table.drop_columns(COLUMN)
        return replace(self, table=table.append_column(COLUMN, pa.array(chosen, pa.string())))

    def write_parquet(self, path: str | Path) -> None:
        """Write the table; `open` reads it back without probing."""
        with atomic_write(path) as beside:
            pa.parquet.write_table(self.table, beside)

    def write_csv(self, path: str | Path) -> None:
        """Write the table as CSV; `open` reads it back without probing."""
        with atomic_write(path) as beside:
            pa.csv.write_csv(self.table, beside)


def scan(
    path: str | Path,
    *,
    workers: int = WORKERS,
    progress: Callable[[int, int], None] | None = None,
    path_column: str | None = None,
    decode: bool = True,
) -> tuple[Manifest, list[Skipped]]:
    """List a set's usable files, each decoded to its end, regardless of its index; otherwise as `Manifest.open`.

    Args:
        path: a folder, .csv, .tsv or .parquet.
        workers: threads.
        progress: called with (files probed, all files) from time to time.
        path_column: an index's column of paths, if not `path`.
        decode: if False, only headers and ends are checked: damage in the middle is found when a file is used.
    """
    options = dict(progress=progress, path_column=path_column, decode=decode)
    return _open(path, workers=workers, trusting=False, **options)  # type: ignore[arg-type]


def write_skipped(skipped: Sequence[Skipped], path: str | Path) -> None:
    """Write the files left out as CSV: `path`, `reason`."""
    # A file may be left out because its name is not UTF-8: its bytes are written unchanged.
    with (
        atomic_write(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file).writerows([Skipped._fields, *skipped])


def read_skipped(path: str | Path) -> list[Skipped]:
    """The files in a list that `write_skipped` wrote; none if there is no list.

    Raises:
        AaspError: it is something else.
    """
    if not os.path.exists(path):
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [Skipped(*line) for line in csv.reader(file)][1:]
    except (csv.Error, TypeError):
        raise AaspError(f"{path}: not a list of skipped files; move or remove it") from None


def _open(
    path: str | Path,
    *,
    workers: int,
    trusting: bool,
    progress: Callable[[int, int], None] | None = None,
    path_column: str | None = None,
    decode: bool = False,
) -> tuple[Manifest, list[Skipped]]:
    source = located(path)
    skipped: list[Skipped] = []
    table, notes, indexed = listed(source, skipped, path_column)
    if indexed:
        notes = notes + _repeated(table["path"])
    if not trusting and decode:
        notes = notes + changed(Path(source))
    if table.num_rows == 0 and not skipped:
        raise AaspError(f"index without rows: {source}; list one file a row in its column path")
    table, bad = measure(table, max(1, workers), trusting, decode, progress)
    skipped += bad
    if table.num_rows == 0:
        first = skipped[0]
        why = f"all {len(skipped)} skipped, the first {first.path}: {first.reason}"
        raise NothingUsable(f"no usable audio in {source}: {why}; repair or replace the files", skipped)
    return Manifest(table, source, tuple(notes)), skipped


def _repeated(paths: pa.ChunkedArray) -> list[str]:
    """One line about the rows of an index that repeat a file, if any."""
    if pc.any(pc.match_substring(paths, "/../")).as_py():
        plain = [path and os.path.normpath(path) for path in paths.to_pylist()]
        paths = pa.chunked_array([pa.array(plain, pa.string())])
    hashes = np.empty(len(paths), np.int64)  # so that, of a million strings, only duplicates are compared
    for begin in range(0, len(paths), _HASHED):
        hashes[begin : begin + _HASHED] = [hash(path) for path in paths.slice(begin, _HASHED).to_pylist()]
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not twice.size:
        return []
    seen = {""}
    again: list[int] = []
    for row in np.flatnonzero(np.isin(hashes, twice)).tolist():
        path = paths[row].as_py()
        if path in seen and path:
            again.append(row)
        seen.add(path)
    if not again:
        return []
    return [f"rows that repeat a file: {len(again):,}, the first row {again[0] + 1}, {paths[again[0]].as_py()}"]
