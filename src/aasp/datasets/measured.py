"""Durations of a set's files, from the index, the header or the samples, and which files can't be used."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aasp.audio.io import AudioError, check_decodes, probe
from aasp.audio.packed import on_disk, place
from aasp.audio.remote import is_url
from aasp.datasets.index import Skipped

MIN_SECONDS = 0.025  # one analysis window
MANY, LOOKED_AT = 100_000, 10_000
"""In an index with more than MANY rows that all have their seconds, only LOOKED_AT evenly spaced files are checked for
existence, or all if one of these is missing. Other missing files are found when they are read."""
_MEASURED = {"path": pa.string(), "seconds": pa.float64(), "rate": pa.int32(), "channels": pa.int32()}
_CHUNK = 64
_UNKNOWN = -1

Fact = tuple[float, int, int] | str


def measure(
    table: pa.Table, workers: int, trusting: bool, decode: bool, progress: Callable[[int, int], None] | None
) -> tuple[pa.Table, list[Skipped]]:
    """Check or probe each row's file, or decode it whole; return the usable rows with measurements, and the others."""
    total = table.num_rows
    paths = table["path"]
    known = np.full(total, np.nan)
    if trusting and "seconds" in table.column_names:
        known = table["seconds"].to_numpy()
    seconds = np.where((known > 0) & np.isfinite(known), known, np.nan)
    rates, channels = (np.full(total, _UNKNOWN, np.int32) for _ in range(2))
    reasons: dict[int, str] = {}
    look = range(total)
    if total > MANY and not np.isnan(seconds).any() and not _any_missing(paths):
        short = np.flatnonzero(seconds < MIN_SECONDS)
        reasons = {int(row): _too_short(seconds[row]) for row in short}
        look = range(0)

    def chunk(begin: int) -> list[Fact]:
        ours = paths.slice(begin, _CHUNK).to_pylist()
        return [_fact(path, seconds[row], decode) for row, path in enumerate(ours, start=begin)]

    for begin, facts in zip(look[::_CHUNK], _in_parallel(chunk, look[::_CHUNK], workers), strict=True):
        for row, fact in enumerate(facts, start=begin):
            if isinstance(fact, str):
                reasons[row] = fact
            else:
                seconds[row], rates[row], channels[row] = fact
        if progress is not None:
            progress(begin + len(facts), total)
    skipped = [Skipped(paths[row].as_py(), reason) for row, reason in sorted(reasons.items())]
    measured = [paths, pa.array(seconds), _whole(rates), _whole(channels)]
    if trusting:  # values of the index for files that were not opened
        for index, name in ((2, "rate"), (3, "channels")):
            if name in table.column_names and pa.types.is_integer(table[name].type):
                given = table[name].cast(pa.int64(), safe=False)
                fits = pc.and_(pc.greater_equal(given, 0), pc.less(given, 2**31))
                measured[index] = pc.coalesce(measured[index], pc.if_else(fits, given, None).cast(_MEASURED[name]))
    labels = [name for name in table.column_names if name not in _MEASURED]
    found = pa.table([*measured, *(table[name] for name in labels)], names=[*_MEASURED, *labels])
    if reasons:
        usable = np.ones(total, bool)
        usable[list(reasons)] = False
        found = found.filter(pa.array(usable))
    return found, skipped


def _whole(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.int32(), mask=values == _UNKNOWN)


def _any_missing(paths: pa.ChunkedArray) -> bool:
    spread = np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).astype(np.int64))
    return any(_why_missing(paths[row].as_py()) is not None for row in spread.tolist())


def _why_missing(path: str) -> str | None:
    """Why a sound can't be used, as far as it shows without opening it; else None. Stores are not queried."""
    if not path:
        return "its row has no path"
    if "\0" in path:
        return "its path holds a NUL byte"
    found = place(path)
    file = path if found is None else found.archive
    if is_url(file):
        return None
    what = "file" if found is None else "file that contains it"
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return f"no such {what}"
    except OSError as error:
        return f"unreadable ({error.strerror})"
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block forever
        return f"is not a {what}" if found is None else "is inside something that is not a file"
    if status.st_size == 0:
        return f"empty {what}"
    if found is not None and found.size is not None and found.begin + found.size > status.st_size:
        return f"truncated: the file that contains it ends after {status.st_size:,} bytes"
    return None


def _fact(path: str, seconds: float, decode: bool) -> Fact:
    """(seconds, rate, channels) of a sound, or why it is unusable; if `seconds` is trusted, the others are unknown."""
    rate = channels = _UNKNOWN
    reason = _why_missing(path)
    if reason is not None:
        return reason
    try:
        if np.isnan(seconds):
            with on_disk(path) as file:
                info = probe(file)
                seconds, rate, channels = info.seconds, info.rate, info.channels
                if decode:  # all channels, because the choice of channels is not known yet
                    check_decodes(file, info)
    except AudioError as error:
        return error.reason
    except OSError as error:
        return f"unreadable ({error.strerror})"
    return _too_short(seconds) if seconds < MIN_SECONDS else (seconds, rate, channels)


def _too_short(seconds: float) -> str:
    return f"too short: {1000 * seconds:.3g} ms, less than one analysis window of {1000 * MIN_SECONDS:g} ms"


def _in_parallel(work: Callable, items: Iterable, workers: int) -> Iterator:
    """`map` on threads, in order; stopping early cancels the work that has not begun."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="aasp-scan")
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
