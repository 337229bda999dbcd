"""Parquet files with embedded sounds, as Hugging Face `datasets` writes them: a column of {bytes, path}, and labels.

`datasets` itself is not needed: the schema's metadata has the types of columns and the names of classes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from aasp.audio import remote, remote_cache
from aasp.audio.packed import row_address
from aasp.audio.parquet_rows import audio_column
from aasp.datasets.index import RESERVED, Skipped
from aasp.datasets.tables import ROWS, limited
from aasp.errors import AaspError


def holds_sounds(file: str) -> bool:
    """Whether a Parquet file has a column of sounds; a manifest has their paths instead."""
    try:
        return audio_column(_open(file).schema_arrow) is not None
    except (OSError, ValueError, pa.ArrowException):
        return False


def rows(files: Sequence[str], skipped: list[Skipped]) -> tuple[pa.Table, list[str]]:
    """All rows of Parquet files, in order: their addresses in the column `path`, and the other columns.

    Args:
        files: paths or URLs.
        skipped: collects files that can't be read.

    Returns:
        The table, and notes, one line each.

    Raises:
        AaspError: the files have different columns, or a store can't be reached.
    """
    tables: list[pa.Table] = []
    left: set[str] = set()
    for name in files:
        try:
            file = _open(name)
            column = audio_column(file.schema_arrow)
            if column is None:
                skipped.append(Skipped(name, "no column of sounds {bytes, path} in it"))
                continue
            tables.append(_table(name, file, column, left))
        except (OSError, ValueError, pa.ArrowException) as error:
            skipped.append(Skipped(name, f"not readable as Parquet ({' '.join(str(error).split())})"))
    notes = [f"columns that are not numbers or strings, left out: {', '.join(sorted(left))}"] if left else []
    if not tables:
        return pa.table({"path": pa.array([], pa.string())}), notes
    try:
        return pa.concat_tables(tables, promote_options="permissive"), notes
    except pa.ArrowException as error:
        text = " ".join(str(error).split())
        raise AaspError(f"{files[0]} and others: their columns differ ({text}); name files of one kind") from None


def _open(name: str) -> pa.parquet.ParquetFile:
    return pa.parquet.ParquetFile(remote_cache.Ranges(name) if remote.is_url(name) else name)


def _table(name: str, file: pa.parquet.ParquetFile, column: str, left: set[str]) -> pa.Table:
    schema = file.schema_arrow
    labels = [field.name for field in schema if _is_plain(field.type)]
    left |= {field.name for field in schema} - {column, *labels}
    wanted = [f"{column}.path", *labels]
    batches = list(limited(name, file.iter_batches(ROWS, columns=wanted)))
    found = pa.Table.from_batches(batches) if batches else file.read(columns=wanted)
    own = found[column].combine_chunks() if found.num_rows else None
    paths = own.field("path").to_pylist() if own is not None else []
    shown = [os.path.basename(path or "") or f"row-{row}" for row, path in enumerate(paths)]
    addresses = [row_address(name, row, one) for row, one in enumerate(shown)]
    columns: dict[str, Any] = {"path": pa.array(addresses, pa.string())}
    features = _features(schema)
    for label in labels:
        names = _class_names(features.get(label))
        values = _flat(found[label]) if names is None else _named(found[label], names, f"{name}, column {label}")
        measured = label == "seconds" and (pa.types.is_floating(values.type) or pa.types.is_integer(values.type))
        columns[f"own_{label}" if label in RESERVED and not measured else label] = values
    return pa.table(columns)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    return any(test(kind) for test in (*tests, pa.types.is_large_string, pa.types.is_dictionary))


def _flat(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists of strings as `a;b`; dictionary columns as their values."""
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        return pc.binary_join(values, ";")
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The metadata of the columns written by `datasets`; {} if there is none."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _class_names(feature: Any) -> list[str] | None:
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _named(numbers: pa.ChunkedArray, names: list[str], where: str) -> pa.ChunkedArray:
    """Class numbers as class names; -1 is null."""
    numbers = pc.if_else(pc.equal(numbers, -1), None, numbers)
    largest, least = pc.max(numbers).as_py(), pc.min(numbers).as_py()
    if largest is not None and not (least >= 0 and largest < len(names)):
        wrong = least if least < 0 else largest
        raise AaspError(f"{where}: class {wrong}, but its schema has {len(names)}; correct the file")
    return pc.take(pa.array(names, pa.string()), numbers)
