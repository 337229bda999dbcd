"""Which files a set has, and how long each is: a folder, a CSV or a Parquet index, held as Arrow columns.

A million rows are a few flat buffers, not a million objects. What can't be used is never left out in silence: it comes
back as `Skipped`, with its reason.
"""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from aasp.audio.io import EXTENSIONS, AudioError, probe
from aasp.datasets.index import Skipped, read_index, told_hidden, walk
from aasp.errors import AaspError
from aasp.files import atomic_write

WORKERS = 8
SHORTEST_SECONDS = 0.025  # one analysis window
_MEASURED = {"path": pa.string(), "seconds": pa.float64(), "rate": pa.int32(), "channels": pa.int32()}
_CHUNK = 64


class NothingUsable(AaspError):
    """A set in which every file had to be skipped; `skipped` lists them."""

    def __init__(self, message: str, skipped: list[Skipped]) -> None:
        super().__init__(message)
        self.skipped = skipped


@dataclass(frozen=True)
class Manifest:
    """The usable files of a set.

    Attributes:
        table: columns `path` (absolute), `seconds`, `rate` (Hz) and `channels` (both null where they were not
            probed), then the index's own columns.
        source: the folder or index it came from.
        notes: what else is to be said of it, a line each: hidden files that were left out, rows that repeat a file.
    """

    table: pa.Table
    source: str
    notes: tuple[str, ...] = ()

    @classmethod
    def open(
        cls, path: str | Path, *, workers: int = WORKERS, path_column: str | None = None
    ) -> tuple[Manifest, list[Skipped]]:
        """List a set's usable files, as cheaply as its index allows.

        A `seconds` column is trusted: such a file must exist and not be empty, but is not opened. Where an index has
        none, or a row's is missing or not positive, and for folders, headers are probed. A wrong `seconds` does no
        silent harm: a crop beyond the end of a file is an error of that file when it is decoded. `scan` trusts nothing.

        Args:
            path: a folder (searched to the bottom, in sorted order, hidden files and folders left out), or a .csv, .tsv
                or .parquet file with a `path` column; relative paths in it are relative to its own folder. A CSV column
                is of integers where each of its values is one, as written; else of strings.
            workers: threads.
            path_column: an index's column to take for `path`.

        Returns:
            The manifest, in the index's order, and the files left out.

        Raises:
            AaspError: no such path, no `path` column, no audio in the folder.
            NothingUsable: there is not one usable file.
        """
        return _open(path, workers=workers, trusting=True, path_column=path_column)

    def __len__(self) -> int:
        return self.table.num_rows

    def sound(self, row: int) -> str:
        """One file's path."""
        return self.table["path"][row].as_py()

    @property
    def paths(self) -> list[str]:
        """All paths, as a new list."""
        return self.table["path"].to_pylist()

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
            AaspError: there is none of that name.
        """
        if name not in self.table.column_names:
            raise AaspError(f"{self.source}: no column {name!r}; it has {', '.join(self.table.column_names)}")
        return self.table[name].to_numpy()

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
) -> tuple[Manifest, list[Skipped]]:
    """List a set's usable files with every header probed, whatever its index says; otherwise as `Manifest.open`.

    Args:
        path: a folder, .csv, .tsv or .parquet.
        workers: threads.
        progress: called with (files probed, files in all) now and then.
        path_column: an index's column to take for `path`.
    """
    return _open(path, workers=workers, trusting=False, progress=progress, path_column=path_column)


def write_skipped(skipped: Sequence[Skipped], path: str | Path) -> None:
    """Write the files left out as CSV: `path`, `reason`."""
    # A name that is not UTF-8 is a reason to be here: its bytes are written as they are.
    with (
        atomic_write(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file).writerows([Skipped._fields, *skipped])


def _open(
    path: str | Path,
    *,
    workers: int,
    trusting: bool,
    progress: Callable[[int, int], None] | None = None,
    path_column: str | None = None,
) -> tuple[Manifest, list[Skipped]]:
    source = os.fspath(path)
    skipped: list[Skipped] = []
    if os.path.isdir(source):
        if path_column is not None:
            raise AaspError(f"--path-column {path_column} with a folder, {source}: it is an index's; leave it out")
        hidden: list[str] = []
        found = list(walk(source, skipped, hidden))
        notes = told_hidden(hidden)
        if not found and not skipped:
            known = ", ".join(sorted(EXTENSIONS))
            passed = "".join(f" ({note})" for note in notes)
            raise AaspError(f"no audio in folder: {source}; looked for {known} in it and below{passed}")
        table = pa.table({"path": pa.array(found, pa.string())})
    else:
        table = read_index(source, path_column)
        notes = _repeated(table["path"])
    if table.num_rows == 0 and not skipped:
        raise AaspError(f"index without rows: {source}; list one file a row in its column path")
    table, bad = _measure(table, max(1, workers), trusting, progress)
    skipped += bad
    if table.num_rows == 0:
        first = skipped[0]
        why = f"all {len(skipped)} skipped, the first {first.path}: {first.reason}"
        raise NothingUsable(f"no usable audio in {source}: {why}; mend or replace the files", skipped)
    return Manifest(table, source, tuple(notes)), skipped


def _repeated(paths: pa.ChunkedArray) -> list[str]:
    """The one line that says which rows of an index repeat a file, if some do."""
    stepping_up = pc.match_substring(paths, "/../")
    if pc.any(stepping_up).as_py():
        plain = [path and os.path.normpath(path) for path in paths.to_pylist()]
        paths = pa.chunked_array([pa.array(plain, pa.string())])
    codes = paths.combine_chunks().dictionary_encode()
    if len(codes) == len(codes.dictionary):
        return []
    _, firsts = np.unique(codes.indices.to_numpy(), return_index=True)
    again = np.setdiff1d(np.arange(len(codes)), firsts)
    again = again[pc.not_equal(paths, "").to_numpy()[again]]
    if not again.size:
        return []
    return [f"rows that repeat a file: {again.size:,}, the first row {again[0] + 1}, {paths[int(again[0])].as_py()}"]


def _measure(
    table: pa.Table, workers: int, trusting: bool, progress: Callable[[int, int], None] | None
) -> tuple[pa.Table, list[Skipped]]:
    """Check or probe each row's file: the usable rows with what was measured, and the others."""
    total = table.num_rows
    known = table["seconds"].combine_chunks() if trusting and "seconds" in table.column_names else None
    paths = table["path"].combine_chunks()
    columns: tuple[list, list, list] = [], [], []
    usable: list[bool] = []
    skipped: list[Skipped] = []

    def chunk(begin: int) -> list[tuple[float, int | None, int | None] | str]:
        ours = paths[begin : begin + _CHUNK].to_pylist()
        seconds = known[begin : begin + _CHUNK].to_pylist() if known is not None else [None] * len(ours)
        return [_fact(path, second) for path, second in zip(ours, seconds, strict=True)]

    for facts in _in_parallel(chunk, range(0, total, _CHUNK), workers):
        for fact in facts:
            if isinstance(fact, str):
                skipped.append(Skipped(paths[len(usable)].as_py(), fact))
            else:
                for column, value in zip(columns, fact, strict=True):
                    column.append(value)
            usable.append(not isinstance(fact, str))
        if progress is not None:
            progress(len(usable), total)
    kept = table.filter(pa.array(usable, pa.bool_())).combine_chunks()
    measured = [kept["path"], *(pa.array(c, t) for c, t in zip(columns, list(_MEASURED.values())[1:], strict=True))]
    if trusting:  # what the index said of the files that were not opened
        for index, name in ((2, "rate"), (3, "channels")):
            if name in kept.column_names and pa.types.is_integer(kept[name].type):
                measured[index] = pc.coalesce(measured[index], kept[name].cast(_MEASURED[name]))
    labels = [name for name in kept.column_names if name not in _MEASURED]
    return pa.table([*measured, *(kept[name] for name in labels)], names=[*_MEASURED, *labels]), skipped


def _fact(path: str, seconds: float | None) -> tuple[float, int | None, int | None] | str:
    """(seconds, rate, channels) of a file, rate and channels unknown where `seconds` was trusted; or why not."""
    rate = channels = None
    if not path:
        return "its row has no path"
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
            return "is not a file"
        if seconds is not None and 0 < seconds < float("inf"):
            if status.st_size == 0:
                return "empty file"
        else:
            info = probe(path)
            seconds, rate, channels = info.seconds, info.rate, info.channels
    except FileNotFoundError:
        return "no such file"
    except AudioError as error:
        return error.reason
    except OSError as error:
        return f"unreadable ({error.strerror})"
    if seconds < SHORTEST_SECONDS:
        return f"too short: {1000 * seconds:.3g} ms, less than one analysis window of {1000 * SHORTEST_SECONDS:g} ms"
    return seconds, rate, channels


def _in_parallel(work: Callable, items: Iterable, workers: int) -> Iterator:
    """`map` on threads, in order; stopping early doesn't wait for what has not begun."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="aasp-scan")
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
