"""Columns for colouring and filtering rows on a page: the index's labels, clusters and times."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aasp.index.layout import COLUMNS

MAX_NAMES = 65_535


def columns(rows: pa.Table, clusters: np.ndarray) -> list[dict[str, Any]]:
    """Columns of a page, informative ones first: labels, then the cluster, then times.

    Args:
        rows: N rows of an index.
        clusters: number of each row's cluster (N,).

    Returns:
        For each its name; and either `values`, the names of categories, most frequent first, and `codes`, the category
        of each row (base64 of uint16, 65535 for none), or `kind`, "number" or "time" (milliseconds since 1970), and
        `numbers` (base64 of float64, NaN for none).
    """
    labels = [name for name in rows.column_names if name not in COLUMNS]
    made = [column for name in labels if (column := _column(name, rows[name])) is not None]
    made.append(_categories("cluster", pa.array([f"cluster {number + 1}" for number in clusters.tolist()])))
    for title, name in (("modified", "modified"), ("start in the recording, s", "start"), ("duration, s", "seconds")):
        column = _column(title, rows[name])
        if column is not None:
            made.append(column)
    return [column for column in made if len(column.get("values", "ab")) > 1 or column["name"] == "cluster"]


def _column(name: str, column: pa.ChunkedArray) -> dict[str, Any] | None:
    """A column, or None if it is not informative: a single value, lists, or a different name for each row."""
    column = _decimals(column)
    kind = column.type
    if pa.types.is_timestamp(kind):
        column, what = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()), "time"
    elif pa.types.is_floating(kind):
        what = "number"
    elif pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        named = _categories(name, column.cast(pa.string()).combine_chunks())
        return named if named["values"] and len(named["values"]) <= MAX_NAMES else None
    else:
        return None
    numbers = column.cast(pa.float64()).to_numpy()
    text = numbers[np.isfinite(numbers)]
    if not len(text) or text.min() == text.max():
        return None
    return {"name": name, "kind": what, "numbers": _packed(numbers, "<f8")}


def _decimals(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as numbers if all of it are decimals, as in CSV; whole numbers, which may be names, stay text."""
    if not pa.types.is_string(column.type):
        return column
    text = pc.utf8_trim_whitespace(column)
    there = text.filter(pc.not_equal(text, ""))
    numbers = pc.all(pc.match_substring_regex(there, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")).as_py()
    if not (numbers and pc.any(pc.match_substring(there, ".")).as_py()):
        return column
    return pc.if_else(pc.equal(text, ""), None, text).cast(pa.float64())


def _categories(name: str, texts: pa.Array | pa.ChunkedArray) -> dict[str, Any]:
    counted = pc.value_counts(texts)
    values, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    order = sorted((-count, value) for value, count in zip(values, counts, strict=True) if value not in (None, ""))
    names = [value for _, value in order]
    codes = pc.fill_null(pc.index_in(texts, pa.array(names, pa.string())), MAX_NAMES)
    return {"name": name, "values": names, "codes": _packed(codes.to_numpy(zero_copy_only=False), "<u2")}


def _packed(numbers: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers.astype(kind)).tobytes()).decode()
