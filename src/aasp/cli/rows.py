"""Rows of results on the terminal: as a table for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aasp.errors import one_line


def listed(rows: Sequence[Mapping[str, Any]], format: str, columns: Sequence[str] = ()) -> None:
    """Print rows with equal columns.

    Args:
        rows: values by name.
        format: "table", "json" or "csv".
        columns: their names, for the case without rows.
    """
    names = list(rows[0]) if rows else list(columns)
    if format == "json":
        print(json.dumps([{name: _value(one[name]) for name in names} for one in rows], indent=1, ensure_ascii=False))
    elif format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *([one[name] for name in names] for one in rows)])
    elif rows:
        lines = [list(map(one_line, names)), *([_text(one[name]) for name in names] for one in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for cells in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else one_line(str(value))


def _value(value: Any) -> Any:
    """A value that JSON can represent."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
