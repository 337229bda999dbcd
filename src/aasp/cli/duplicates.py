"""`aasp duplicates`: recordings that occur twice in an index, and leaks between its training and test parts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from aasp.cli.arguments import parse, set_threads
from aasp.cli.progress import bar
from aasp.cli.rows import listed
from aasp.cli.skipped import described, show
from aasp.errors import AaspError

_COLUMNS = ("row", "other", "same", "similarity", "correlation", "later", "part", "other_part", "path", "other_path")


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Find duplicate recordings in an index: the same bytes, or re-encoded, resampled, trimmed or with another gain.

    If the index has a column split or fold, a recording in two parts is a leak: the exit code is then 1. It is 2 if no
    leak was found, but sounds could not be read.
    """

    index: tyro.conf.Positional[Path]
    """Folder that `aasp index` made."""
    threshold: float = 0.5
    """Cosine from which two sounds are compared by their waveforms, which decide; each with its eight nearest."""
    across: str | None = None
    """Column of the parts that must not share a recording; split or fold by default."""
    format: Literal["table", "json", "csv"] = "table"
    """Output format."""
    root: Path | None = None
    """Folder of the sounds, if they have moved since they were indexed."""
    threads: int | None = None
    """CPU threads of torch; one per core by default."""


def run(argv: list[str]) -> int:
    arguments = parse(Duplicates, argv, prog="aasp duplicates")
    if not -1 <= arguments.threshold <= 1:
        raise AaspError(f"--threshold {arguments.threshold:g}: a cosine is from -1 to 1; give one, such as 0.5")
    set_threads(arguments.threads)
    from aasp.index import Index
    from aasp.index.duplicates import duplicates
    from aasp.index.leaks import leaks, parts_of

    index = Index.open(arguments.index, arguments.root)
    parts = parts_of(index, arguments.across)
    skipped: list = []
    with bar("comparing") as progress:
        found = list(duplicates(index, arguments.threshold, skipped, progress, parts))
    torn = [] if parts is None else leaks(index, found, parts)
    found += [one for one in torn if one.same == "chain"]
    rows = []
    for one in found:
        values = {**one._asdict(), "path": index.sound(one.row).path, "other_path": index.sound(one.other).path}
        if parts is not None:
            values |= {"part": parts[one.row], "other_part": parts[one.other]}
        rows.append({name: values[name] for name in _COLUMNS if name in values})
    listed(rows, arguments.format, [name for name in _COLUMNS if parts is not None or "part" not in name])
    show(described(skipped), "compared by their bytes alone")
    unread = 0 if parts is None or torn else len(skipped)
    leaking = "" if parts is None else f", {len(torn):,} of them in two parts"
    verdict = "" if parts is None or unread else (": a leak" if torn else ": no leak")
    print(
        f"{arguments.index}: {len(found):,} pair(s) of one recording among {len(index):,} rows{leaking}{verdict}",
        file=sys.stderr,
    )
    if unread:
        raise AaspError(
            f"{arguments.index}: {unread:,} file(s) could not be read and were not checked for leaks; give their "
            "folder with --root, or repair them"
        )
    return 1 if torn else 0
