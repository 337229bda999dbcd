"""The sounds that are named for an index, each file once, with the labels of all its rows. Source: ours."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from aasp.audio.remote import is_url, located
from aasp.datasets.channel_column import COLUMN
from aasp.datasets.index import Skipped
from aasp.datasets.sources import listed
from aasp.errors import AaspError
from aasp.index.layout import COLUMNS, joined

PARTS = ("split", "fold")
"""Columns that give a row's part of a dataset."""
OWN = (*COLUMNS, COLUMN, "row", "similarity", "vector")
"""Columns that an index, its results or a vector database fill in: a manifest's column of the same name is renamed."""
_MEASURED = ("rate", "channels")


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
    paths = [below(_shortest(path or ""), root) for path in table["path"].to_pylist()]
    table = table.set_column(table.column_names.index("path"), "path", pa.array(paths, pa.string()))
    return _once(table, notes)


def _once(table: pa.Table, notes: list[str]) -> pa.Table:
    """Each file once: its first row, with what that leaves empty from its later ones.

    Raises:
        AaspError: two rows put a file in two parts of a set, such as train and test.
    """
    rows: dict[str, list[int]] = {}
    for row, path in enumerate(table["path"].to_pylist()):
        rows.setdefault(path, []).append(row)
    repeated = {path: where for path, where in rows.items() if path and len(where) > 1}
    if len(rows) == len(table):
        return table
    notes.append(f"named more than once, and indexed once: {len(table) - len(rows):,} file(s)")
    once = table.take(pa.array([where[0] for where in rows.values()], pa.int64()))
    for name in label_columns(table):
        cells = [cell_value(cell) for cell in table[name].to_pylist()]
        chosen, differ = {path: where[0] for path, where in rows.items()}, []
        for path, where in repeated.items():
            given = [row for row in where if cells[row] is not None]
            chosen[path] = (given or where)[0]
            differ += [(path, given[0], row) for row in given if cells[row] != cells[given[0]]][:1]
        if differ:
            path, one, other = differ[0]
            two = f"{cells[one]} and {cells[other]}"
            if name in PARTS:
                raise AaspError(
                    f"{table['source'][other]}: {path} is in two parts, {name} {two}; leave one of its rows out"
                )
            notes.append(
                f"{name} has several values for {len(differ):,} file(s), such as {two} for {path}: the first is kept"
            )
        order = pa.array(chosen.values(), pa.int64())
        once = once.set_column(once.column_names.index(name), name, table[name].take(order))
    return once


def _shortest(path: str) -> str:
    """A local path without `..`, `.` and doubled separators, if it then names the same file."""
    if is_url(path) or not any(part in f"{path}/" for part in ("/../", "/./", "//")):
        return path
    plain = os.path.normpath(path)
    try:
        return plain if os.path.samefile(plain, path) else path
    except (OSError, ValueError):
        return path


def below(path: str, root: str) -> str:
    """A path relative to the root if it is below it, else unchanged."""
    start = os.path.join(root, "")
    return path[len(start) :] if path.startswith(start) and path != start else path


def whole(path: str, root: str) -> str:
    """The inverse of `below`: a local path from the root on, a URL unchanged."""
    return path if is_url(path) else os.path.join(root, path)


def label_columns(found: pa.Table) -> list[str]:
    """The label columns of a listing."""
    return [name for name in found.column_names if name not in OWN and name not in _MEASURED]


def cell_value(cell: Any) -> Any:
    """The value of a cell of a label column, hashable; None for an empty cell, null or NaN."""
    if isinstance(cell, str):
        return cell if cell.strip() else None
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return str(cell) if isinstance(cell, list | dict) else cell
