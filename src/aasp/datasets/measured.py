"""How long each file of a set is, by its index, its header or its samples, and which files can't be used."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from aasp.audio.io import AudioError, check_decodes, probe
from aasp.datasets.index import Skipped

SHORTEST_SECONDS = 0.025  # one analysis window
_MEASURED = {"path": pa.string(), "seconds": pa.float64(), "rate": pa.int32(), "channels": pa.int32()}
_CHUNK = 64


def measure(
    table: pa.Table, workers: int, trusting: bool, decode: bool, progress: Callable[[int, int], None] | None
) -> tuple[pa.Table, list[Skipped]]:
    """Check or probe each row's file, or decode it whole: the usable rows with what was measured, and the others."""
    total = table.num_rows
    known = table["seconds"].combine_chunks() if trusting and "seconds" in table.column_names else None
    paths = table["path"].combine_chunks()
    columns: tuple[list, list, list] = [], [], []
    usable: list[bool] = []
    skipped: list[Skipped] = []

    def chunk(begin: int) -> list[tuple[float, int | None, int | None] | str]:
        ours = paths[begin : begin + _CHUNK].to_pylist()
        seconds = known[begin : begin + _CHUNK].to_pylist() if known is not None else [None] * len(ours)
        return [_fact(path, second, decode) for path, second in zip(ours, seconds, strict=True)]

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


def _fact(path: str, seconds: float | None, decode: bool) -> tuple[float, int | None, int | None] | str:
    """(seconds, rate, channels) of a file, rate and channels unknown where `seconds` was trusted; or why not."""
    rate = channels = None
    if not path:
        return "its row has no path"
    if "\0" in path:
        return "its path holds a NUL byte"
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
            if decode:  # every channel: which of them will be read is not known yet
                check_decodes(path, info)
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
