"""`aasp table`: results in the papers' layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from aasp.cli.arguments import parse
from aasp.errors import AaspError
from aasp.files import atomic_write, check_output


@dataclass(frozen=True)
class Table:
    """Print results as tables: a row for each system, a column for each benchmark, a table for each protocol.

    Scores are means over folds and seeds, in per cent (R2 and MAE as they are), with the deviation over seeds, or over
    folds if there is one seed. Published numbers have separate rows, marked with their source.
    """

    results: tyro.conf.Positional[tuple[Path, ...]]
    """Result files, or folders to search for them."""
    protocol: str | None = None
    """Print only this protocol: linear, finetune, …"""
    format: Literal["markdown", "latex", "csv"] = "markdown"
    """Output format; csv holds one protocol."""
    no_peers: bool = False
    """Leave out the published numbers."""
    out: Path | None = None
    """File to write instead of the terminal."""
    overwrite: bool = False
    """Replace an existing --out file."""


def run(argv: list[str]) -> int:
    arguments = parse(Table, argv, prog="aasp table")
    if not arguments.results:
        raise AaspError("no results named; give files or folders, as in `aasp table runs/`")
    if arguments.out is not None:
        check_output(arguments.out, overwrite=arguments.overwrite)

    from aasp.evaluate.records import find_records
    from aasp.report.layouts import LAYOUTS
    from aasp.report.table import tables

    records = find_records(arguments.results)
    protocols = list(dict.fromkeys(record.protocol for record in records))
    if arguments.protocol is not None:
        records = [record for record in records if record.protocol == arguments.protocol]
        if not records:
            raise AaspError(f"--protocol {arguments.protocol}: no such results; there are {', '.join(protocols)}")
    elif arguments.format == "csv" and len(protocols) > 1:
        raise AaspError(f"--format csv: {len(protocols)} protocols, {', '.join(protocols)}; choose one with --protocol")
    made = "\n".join(LAYOUTS[arguments.format](one) for one in tables(records, published=not arguments.no_peers))
    if arguments.out is None:
        print(made, end="")
    else:
        with atomic_write(arguments.out) as beside:
            beside.write_text(made, encoding="utf-8")
    return 0
