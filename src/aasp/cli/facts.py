"""Facts on the terminal: a heading and two columns, which are not truncated in a narrow terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from aasp.errors import one_line


def facts(heading: str, rows: Mapping[str, Any]) -> None:
    """Print `heading` and a row for each name and value; None values are omitted. In a pipe, a row is one line."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", overflow="fold")
    table.add_column(overflow="fold", min_width=24)
    for name, value in rows.items():
        if value is not None:
            table.add_row(f"  {name}", _text(value))
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as lines:
        console.print(one_line(heading), style="bold")
        console.print(table)
    for line in lines.get().splitlines():
        print(line.rstrip())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return one_line(str(value))
