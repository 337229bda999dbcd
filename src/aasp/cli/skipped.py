"""Files that a command left out, on the terminal and as a list."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aasp.errors import one_line

if TYPE_CHECKING:
    from aasp.datasets.index import Skipped

SHOWN = 5
"""Files that are named on the terminal."""


def show_skipped(skipped: Sequence[Skipped], list_out: Path) -> None:
    """Name the first files that were left out, and list all."""
    if not skipped:
        return
    from aasp.datasets.manifest import write_skipped

    write_skipped(skipped, list_out)
    for file in skipped[:SHOWN]:
        print(one_line(f"skipped {file.path}: {file.reason}"), file=sys.stderr)
    more = f"{len(skipped) - SHOWN:,} more skipped; " if len(skipped) > SHOWN else ""
    print(f"{more}{len(skipped):,} skipped in all, listed in {list_out}", file=sys.stderr)
