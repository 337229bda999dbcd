"""The files of an index: their content, how rows are added and removed, and their state after a kill.

    index.json           the model, the settings, the number of rows and the files they are in
    vectors-000001.npy   float16 (rows, width), each of unit length; rows are only ever appended
    rows-000001.parquet  a row for each vector: path, start, seconds, hash, modified, labels; a part for each addition

An addition is written and synced first and becomes part of the index when `index.json` is replaced. To remove rows, a
new file of vectors is written without them; readers that have the old file open keep it. Source: ours.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.lib import format as npy

from aasp.config import from_dict
from aasp.datasets.tables import read_parquet
from aasp.documents import read_object
from aasp.errors import AaspError
from aasp.files import atomic_write
from aasp.training.precision import Precision

FORMAT = 1
STATE = "index.json"
SKIPPED = "skipped.csv"
"""The list of the sounds that an index left out, with reasons."""
REMEDY = "make the index again by `aasp index`"
_HEADER = 128  # bytes before the vectors: the shape in the header grows in place
_MAX_WIDTH = 1 << 20
_MADE = re.compile(r"(vectors|rows)-\d{6}\.(npy|parquet)")
_BLOCK = 65_536  # rows copied at once


@dataclass(frozen=True)
class Model:
    """The model of the vectors: a name or a folder, and the SHA-256 of its configuration and weights."""

    name: str
    digest: str


@dataclass(frozen=True)
class Settings:
    """How the vectors are made; an index has one model and one setting.

    Attributes:
        vector: "own", or layer:pooling pairs, concatenated.
        channels: the choice for files with several, as in `aasp embed`.
        window, hop: length and hop, in seconds, of the windows that recordings are cut into; None for whole files.
        precision: precision of the model's forward pass.
    """

    vector: str = "own"
    channels: str = "mean"
    window: float | None = None
    hop: float | None = None
    precision: Precision = "fp32"


@dataclass(frozen=True)
class State:
    """The content of `index.json`.

    Attributes:
        model, settings: how the vectors were made.
        root: the folder that relative paths start from.
        width: dimension of a vector.
        rows: number of rows.
        vectors: the file of vectors; None while there is no row.
        parts: files of rows, in order.
        number: number of the next file.
    """

    model: Model
    settings: Settings
    root: str
    width: int = 0
    rows: int = 0
    vectors: str | None = None
    parts: tuple[str, ...] = ()
    number: int = 1
    format: int = FORMAT


def read_state(folder: Path) -> State:
    """The state of an index, from its `index.json`.

    Raises:
        AaspError: there is no index, it has another version, or it is damaged.
    """
    file = folder / STATE
    if not file.is_file():
        what = "no such folder" if not folder.exists() else "no index"
        raise AaspError(f"{folder}: {what}; make one by `aasp index recordings --out {folder}`")
    values = read_object(file, REMEDY)
    if values.get("format") != FORMAT:
        raise AaspError(f"{file}: format {values.get('format')!r}, and this version reads {FORMAT}; {REMEDY}")
    state = from_dict(State, values, str(file))
    names = [*state.parts, *([state.vectors] if state.vectors else [])]
    if not all(_MADE.fullmatch(name) for name in names):
        raise AaspError(f"{file}: names files that no index has; {REMEDY}")
    if min(state.rows, state.width) < 0 or state.width > _MAX_WIDTH or bool(state.rows) != bool(state.vectors):
        raise AaspError(f"{file}: states {state.rows} rows of {state.width} numbers; {REMEDY}")
    return state


def write_state(folder: Path, state: State) -> None:
    """Replace the index's state; files that it does not name are removed."""
    with atomic_write(folder / STATE) as beside:
        beside.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        if _MADE.fullmatch(file.name) and file.name not in (*state.parts, state.vectors):
            file.unlink(missing_ok=True)


def read_vectors(folder: Path, state: State) -> np.ndarray:
    """The vectors, float16 (rows, width), memory-mapped; changes to them stay in memory.

    Raises:
        AaspError: the file is something else, or has fewer rows than stated.
    """
    if state.vectors is None:
        return np.zeros((0, state.width), np.float16)
    file = folder / state.vectors
    try:
        with file.open("rb") as opened:
            begin = _checked(opened, state)
        return np.memmap(file, np.float16, "c", begin, (state.rows, state.width))
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise AaspError(f"{file}: not the vectors of this index ({' '.join(str(error).split())}); {REMEDY}") from None


def _checked(file: BinaryIO, state: State) -> int:
    """The offset of the vectors in a file, after checking that it has as many as stated."""
    read = {(1, 0): npy.read_array_header_1_0}[npy.read_magic(file)]
    shape, fortran, dtype = read(file)
    begin = file.tell()
    if fortran or dtype != np.float16 or len(shape) != 2 or shape[1] != state.width:
        raise ValueError(f"it holds {shape} of {dtype}")
    needed = begin + 2 * state.rows * state.width
    if (size := os.fstat(file.fileno()).st_size) < needed:
        raise ValueError(f"{size:,} bytes, not {needed:,}")
    return begin


def read_rows(folder: Path, state: State) -> pa.Table:
    """The rows.

    Raises:
        AaspError: a file of them is damaged, or their number differs from the stated one.
    """
    tables = []
    for name in state.parts:
        try:
            tables.append(read_parquet(str(folder / name), "part of an index"))
        except OSError as error:
            raise AaspError(f"{folder / name}: not readable ({error.strerror}); {REMEDY}") from None
    table = joined(tables) if tables else pa.table({name: pa.array([], kind) for name, kind in COLUMNS.items()})
    if table.num_rows != state.rows:
        raise AaspError(f"{folder}: {table.num_rows:,} rows, and {STATE} states {state.rows:,}; {REMEDY}")
    for name, kind in COLUMNS.items():
        if name not in table.column_names or table.schema.field(name).type != kind:
            raise AaspError(f"{folder}: its rows have no column {name} of {kind}; {REMEDY}")
    for name in ("path", "start", "seconds"):
        if table[name].null_count:
            raise AaspError(f"{folder}: a row has no {name}; {REMEDY}")
    if pc.any(pc.match_substring_regex(table["path"], r"\A\z|\x00")).as_py():
        raise AaspError(f"{folder}: the path of a row is empty, or has a NUL character; {REMEDY}")
    return table


COLUMNS = {
    "path": pa.string(),
    "start": pa.float64(),
    "seconds": pa.float64(),
    "hash": pa.string(),
    "modified": pa.timestamp("ns", "UTC"),
    "size": pa.int64(),
    "source": pa.string(),
}
"""Columns of every index: `source` is the folder or manifest that a row came from; hash, modified and size are null if
a sound is not a local file."""


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenated tables; a column of different types becomes text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        kinds: dict[str, set[Any]] = {}
        for field in (field for table in tables for field in table.schema):
            kinds.setdefault(field.name, set()).add(field.type)
        mixed = {name for name, types in kinds.items() if len(types) > 1}
        return pa.concat_tables([_as_text(table, mixed) for table in tables], promote_options="permissive")


def _as_text(table: pa.Table, names: set[str]) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if name in names:
            table = table.set_column(
                place, name, pa.array([_text(one) for one in table[name].to_pylist()], pa.string())
            )
    return table


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def add(folder: Path, state: State, vectors: np.ndarray, rows: pa.Table) -> State:
    """Append rows, all of them or, after a kill, none.

    Args:
        folder, state: the index.
        vectors: (r, width).
        rows: r rows.

    Raises:
        OSError: the disk is full; the index is unchanged.
    """
    name = state.vectors or f"vectors-{state.number:06d}.npy"
    width = vectors.shape[1]
    with (folder / name).open("r+b" if state.vectors else "wb") as file:
        file.truncate(_HEADER + 2 * state.rows * width)  # left by a killed process
        file.seek(_HEADER + 2 * state.rows * width)
        file.write(np.ascontiguousarray(vectors, "<f2").tobytes())
        file.seek(0)
        file.write(_header(state.rows + len(vectors), width))
        file.flush()
        os.fsync(file.fileno())
    part = f"rows-{state.number:06d}.parquet"
    _write_rows(folder / part, rows)
    parts = (*state.parts, part)
    made = replace(
        state, width=width, rows=state.rows + len(vectors), vectors=name, parts=parts, number=state.number + 1
    )
    write_state(folder, made)
    return made


def keep(folder: Path, state: State, numbers: np.ndarray, rows: pa.Table) -> State:
    """Keep some of the rows, in their order, and rewrite their columns as one part.

    Args:
        folder, state: the index.
        numbers: numbers of the rows that stay.
        rows: the columns of these rows.

    Raises:
        OSError: the disk is full; the index is unchanged.
    """
    name = state.vectors
    if len(numbers) < state.rows:
        name = f"vectors-{state.number:06d}.npy" if len(numbers) else None
    if name is not None and name != state.vectors:
        vectors = read_vectors(folder, state)
        with (folder / name).open("wb") as file:
            file.write(_header(len(numbers), state.width))
            for begin in range(0, len(numbers), _BLOCK):
                file.write(vectors[numbers[begin : begin + _BLOCK]].tobytes())
            file.flush()
            os.fsync(file.fileno())
    part = f"rows-{state.number:06d}.parquet"
    _write_rows(folder / part, rows)
    made = replace(state, rows=len(numbers), vectors=name, parts=(part,), number=state.number + 1)
    write_state(folder, made)
    return made


def _write_rows(file: Path, rows: pa.Table) -> None:
    with atomic_write(file) as beside:
        pq.write_table(rows, beside)


def _header(rows: int, width: int) -> bytes:
    """The header before the vectors, so that `numpy.load` reads them: 128 bytes for any shape."""
    detail = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    length = _HEADER - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + detail.ljust(length - 1).encode() + b"\n"
