"""`aasp alias report`: one HTML page of all laboratory measurements in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from aasp.cli.arguments import parse
from aasp.errors import AaspError
from aasp.files import atomic_write, check_output


@dataclass(frozen=True)
class Report:
    """Draw DIR/report.html from the stability.json, response.json, kernels.json and ablation.json in DIR.

    The page is self-contained. It is drawn again each time and replaces the last one.
    """

    dir: tyro.conf.Positional[Path]
    """Folder with the results of the other commands."""
    out: Path | None = None
    """File to write, DIR/report.html by default. An existing one of another name is kept unless --overwrite."""
    overwrite: bool = False
    """Replace an existing --out file."""


def run(argv: list[str]) -> int:
    arguments = parse(Report, argv, prog="aasp alias report")
    folder = arguments.dir
    if not folder.is_dir():
        raise AaspError(f"no such folder: {folder}; name the one that the other commands wrote into")
    own = arguments.out is None
    out = check_output(arguments.out or folder / "report.html", overwrite=own or arguments.overwrite)

    from aasp.aliasing.report import build

    html = build(folder)
    with atomic_write(out) as beside:
        beside.write_text(html, encoding="utf-8")
    print(out)
    return 0
