"""`aasp runs`: the runs in a folder and their state, without loading torch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.table import Table

from aasp.cli.arguments import parse
from aasp.errors import AaspError, one_line
from aasp.formats import duration_text

if TYPE_CHECKING:
    from aasp.training.status import Status

HEADINGS = ("run", "kind", "recipe", "state", "step", "loss", "clips/s", "rank", "logged", "checkpoint", "size")
RANK = "embedding_rank"


@dataclass(frozen=True)
class Runs:
    """List the runs of `aasp pretrain` and `aasp finetune`, and the cells of `aasp compare` and `aasp ablate`
    in a folder or below it: running ones first, then those that were last active first.

    A run is running while a process holds its lock; stopped if no process does and steps are left: the command that
    started it resumes it.
    """

    dir: tyro.conf.Positional[Path]
    """Folder to search."""
    json: bool = False
    """Print everything known about each run as JSON."""


def run(argv: list[str]) -> int:
    arguments = parse(Runs, argv, prog="aasp runs")
    folder = arguments.dir
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise AaspError(f"{what}: {folder}; give a folder that contains runs")

    from aasp.training.status import find_runs

    found = find_runs(folder)
    if arguments.json:
        print(json.dumps([one.document() for one in found], indent=1))
    elif found:
        _print(folder, found)
        for one in found:
            if one.reason:
                print(one_line(f"{one.state}: {one.path}: {one.reason}"))
    else:
        print(f"no runs in {folder}")
    return 0


def _print(folder: Path, found: Sequence[Status]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEADINGS:
        table.add_column(name, overflow="fold", justify="right" if name in HEADINGS[4:8] else "left")
    for one in found:
        table.add_row(*map(one_line, _cells(folder, one)))
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as lines:
        console.print(table)
    for line in lines.get().splitlines():
        print(line.rstrip())


def _cells(folder: Path, one: Status) -> list[str]:
    ago = lambda moment: "–" if moment is None else f"{duration_text(max(0.0, time.time() - moment))} ago"
    number = lambda value, form: "–" if value is None else format(value, form)
    return [
        str(one.path.relative_to(folder)) if one.path != folder else str(folder),
        one.kind,
        one.recipe or "–",
        one.state,
        f"{one.step:,} of {'?' if one.steps is None else format(one.steps, ',')}",
        number(one.loss, ".4f"),
        number(one.clips_per_second, ".1f"),
        number(one.health.get(RANK), ".1f"),
        ago(one.logged),
        "none" if one.checkpoint is None else f"{one.checkpoint}, {ago(one.saved)}, {_size(one.checkpoint_bytes)}",
        _size(one.bytes),
    ]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
