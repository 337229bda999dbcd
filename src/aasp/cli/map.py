"""`aasp map`: an index as one HTML page for browsing and listening."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import line
from aasp.cli.progress import bar
from aasp.cli.skipped import show
from aasp.errors import AaspError
from aasp.files import check_output


@dataclass(frozen=True, kw_only=True)
class Map:
    """Write a map of an index as one HTML page: similar sounds are close together, a click plays one.

    The page needs no network and no server. Points are coloured by label, cluster or time; up to 100,000 are drawn,
    with more a random selection over a picture of the density of all.
    """

    index: tyro.conf.Positional[Path]
    """Folder that `aasp index` made."""
    out: Path | None = None
    """Page to write, .html."""
    clusters: int = 12
    """Number of k-means clusters for colouring."""
    page_size: float = 50
    """Maximum size of the page in megabytes: it is filled with short previews of sounds in random order; the others are
    played from their files, relative to the page."""
    root: Path | None = None
    """Folder of the sounds, if they have moved since they were indexed."""
    overwrite: bool = False
    """Replace an existing page."""


def run(argv: list[str]) -> int:
    arguments = parse(Map, argv, prog="aasp map")
    if arguments.out is None:
        raise AaspError(f"--out is missing: {line('map', *argv, '--out', 'map.html')}")
    if arguments.out.suffix.lower() not in (".html", ".htm") and not arguments.out.is_dir():
        raise AaspError(f"no such format: {arguments.out}; end it in .html")
    if not 2 <= arguments.clusters <= 1_000:
        raise AaspError(f"--clusters {arguments.clusters}: give a number from 2 to 1000")
    if not 0 <= arguments.page_size <= 2_000:
        raise AaspError(f"--page-size {arguments.page_size:g}: give megabytes, from 0 to 2000")
    check_output(arguments.out, overwrite=arguments.overwrite)

    from aasp.explore.map import write_map
    from aasp.index import Index

    index = Index.open(arguments.index, arguments.root)
    with bar("encoding previews") as progress:
        made = write_map(
            index, arguments.out, groups=arguments.clusters, most_bytes=1e6 * arguments.page_size, progress=progress
        )
    show(list(made.unread.values()), "named in the page, which has no sound of them")
    drawn = "" if made.points == made.rows else f" ({made.points:,} as points, over the density of all)"
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {made.rows:,} row(s){drawn}, {made.inside:,} sound(s) inside, {size:.1f} MB")
    return 0
