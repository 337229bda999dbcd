"""Sounds as bytes in a column of a Parquet file, read by row, as Hugging Face `datasets` stores them.

Reading a row decodes its row group: some groups are cached, so that rows read in order decode each group once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from aasp.audio import remote, remote_cache
from aasp.audio.error import AudioError

HELD_BYTES = 256 * 2**20
"""Maximum size of cached row groups; the one in use is always kept."""
MAX_GROUP_BYTES = 2**30
"""Maximum bytes of a row group's sounds. `datasets` writes groups of 100 sounds."""

_REMEDY = "write the file with smaller row groups, or leave it out"


def audio_column(schema: pa.Schema) -> str | None:
    """The column with sounds: a struct of `bytes` and `path`; the first if there are several."""
    return next((field.name for field in schema if _is_audio(field.type)), None)


def _is_audio(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    names = {field.name: field.type for field in kind}
    data = names.get("bytes")
    return "path" in names and data is not None and (pa.types.is_binary(data) or pa.types.is_large_binary(data))


class _File:
    """An open Parquet file, its audio column and the first row of each group."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        source = remote_cache.Ranges(path) if remote.is_url(path) else path
        self._file = pa.parquet.ParquetFile(source)
        self._column = audio_column(self._file.schema_arrow)
        metadata = self._file.metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.first_rows = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])

    def group(self, number: int) -> pa.Array:
        """The bytes of a group's sounds.

        Raises:
            ValueError: its declared size exceeds the limit, or it can't be read.
        """
        if self._column is None:
            raise ValueError("it has no column of sounds")
        leaf = f"{self._column}.bytes"
        described = self._file.metadata.row_group(number)
        columns = (described.column(index) for index in range(described.num_columns))
        size = next(column.total_uncompressed_size for column in columns if column.path_in_schema == leaf)
        if not 0 <= size <= MAX_GROUP_BYTES:
            raise ValueError(f"row group {number} declares {size:,} bytes of sound, of {MAX_GROUP_BYTES:,} at most")
        with self._lock:
            table = self._file.read_row_group(number, columns=[leaf])
        return table.column(0).combine_chunks().field("bytes")


def read(path: str, row: int, address: str) -> bytes:
    """The bytes of one row's sound.

    Args:
        path: the Parquet file, or its URL.
        row: counted from 0 over all row groups.
        address: the sound's address, for messages.

    Raises:
        AudioError: there is no such row, it has no bytes, or the file can't be read.
        AaspError: its store can't be reached.
    """
    try:
        stamp = remote.facts(path).version if remote.is_url(path) else _stamp(path)
        file = _opened(path, stamp)
        group = int(np.searchsorted(file.first_rows, row, side="right")) - 1
        if group >= len(file.first_rows) - 1:
            raise AudioError(address, f"no such row: its file has {file.first_rows[-1]:,}", "list the set again")
        value = _held.group(file, stamp, group)[row - int(file.first_rows[group])]
    except FileNotFoundError:
        raise AudioError(address, "no such file as its Parquet file", "check the path") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        raise AudioError(address, f"its Parquet file is unreadable ({text})", "fetch it again") from None
    except ValueError as error:
        if isinstance(error, AudioError) or type(error) is not ValueError:
            raise
        raise AudioError(address, str(error), _REMEDY) from None
    if not value.is_valid:
        raise AudioError(address, "its row has no bytes", "leave the row out")
    return value.as_py()


def _stamp(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns}"


@lru_cache(maxsize=64)
def _opened(path: str, stamp: str) -> _File:
    return _File(path)


class _Held:
    """Decoded row groups, the most recently used ones, up to HELD_BYTES."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[str, str, int], pa.Array] = OrderedDict()
        self._lock = threading.Lock()

    def group(self, file: _File, stamp: str, number: int) -> pa.Array:
        key = (file.path, stamp, number)
        with self._lock:  # other threads wait while one reads a group: they mostly want the same one
            if key not in self._groups:
                self._groups[key] = file.group(number)
                while len(self._groups) > 1 and sum(one.nbytes for one in self._groups.values()) > HELD_BYTES:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(key)
            return self._groups[key]


_held = _Held()
