"""Files that a command skipped: the first of them on the terminal, all of them in a list."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aasp.errors import one_line

if TYPE_CHECKING:
    from aasp.datasets.index import Skipped

SHOWN = 5
"""Number of files named on the terminal."""


def described(skipped: Sequence[Skipped]) -> list[str]:
    """Each file and why it was skipped, one line each."""
    return [f"{file.path}: {file.reason}" for file in skipped]


def first(lines: Sequence[str]) -> str | None:
    """The first of these lines and how many more there are, for a table of facts; None if there are none."""
    more = [f"and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return "\n".join([*map(one_line, lines[:SHOWN]), *more]) or None


def show(lines: Sequence[str], consequence: str) -> None:
    """Print the first skipped files, their number, and the consequence."""
    if not lines:
        return
    for line in lines[:SHOWN]:
        print(one_line(f"skipped {line}"), file=sys.stderr)
    more = f"{len(lines) - SHOWN:,} more skipped; " if len(lines) > SHOWN else ""
    print(f"{more}{len(lines):,} skipped in all, {consequence}", file=sys.stderr)


def show_skipped(skipped: Sequence[Skipped], list_out: Path) -> None:
    """Print the first skipped files, and list all in a file; without any, an earlier list is removed."""
    if not skipped:
        list_out.unlink(missing_ok=True)
        return
    from aasp.datasets.manifest import write_skipped

    write_skipped(skipped, list_out)
    show(described(skipped), f"listed in {list_out}")
