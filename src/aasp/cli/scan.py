"""`aasp scan`: a manifest of the audio at a path, and a list of unusable files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from aasp.cli.arguments import parse
from aasp.cli.facts import facts
from aasp.cli.progress import bar
from aasp.cli.skipped import described, first
from aasp.errors import AaspError
from aasp.files import check_output
from aasp.formats import duration_text

if TYPE_CHECKING:
    import numpy as np

    from aasp.datasets.manifest import Manifest, Skipped


@dataclass(frozen=True)
class Scan:
    """List the audio at a path with duration, rate and channels, every file decoded to its end.

    Files that cannot be used are counted, and listed with the reason next to the manifest: those of birds.parquet in
    birds.skipped.csv.
    """

    path: tyro.conf.Positional[Path]
    """Folder (searched recursively; hidden files are skipped), a .csv, .tsv or .parquet index with a column path,
    tar shards or Parquet files of sounds, a glob pattern of them, or a URL of one of these."""
    out: Path = Path("manifest.parquet")
    """Manifest to write: .parquet or .csv."""
    workers: int = 8
    """Threads that decode."""
    decode: bool = True
    """Check only headers and file ends: several times faster, but damage in the middle shows only in use."""
    path_column: str | None = None
    """Column of an index that holds the paths."""
    overwrite: bool = False
    """Replace an earlier manifest and its list of skipped files."""


def run(argv: list[str]) -> int:
    arguments = parse(Scan, argv, prog="aasp scan")
    out, list_out = arguments.out, arguments.out.with_name(f"{arguments.out.stem}.skipped.csv")
    if out.suffix not in (".parquet", ".csv"):
        raise AaspError(f"no format in the manifest's name: {out}; end it in .parquet or .csv")
    for path in (out, list_out):
        check_output(path, overwrite=arguments.overwrite)

    from aasp.datasets.manifest import NothingUsable, scan, write_skipped

    with bar("decoding" if arguments.decode else "reading headers") as progress:
        try:
            manifest, skipped = scan(
                arguments.path,
                workers=arguments.workers,
                progress=progress,
                path_column=arguments.path_column,
                decode=arguments.decode,
            )
        except NothingUsable as error:
            write_skipped(error.skipped, list_out)
            raise AaspError(f"{error}; all are listed in {list_out}") from None
    write_skipped(skipped, list_out)
    if out.suffix == ".parquet":
        manifest.write_parquet(out)
    else:
        manifest.write_csv(out)
    _summarise(arguments.path, manifest, skipped, out, list_out)
    return 0


def _summarise(path: Path, manifest: Manifest, skipped: list[Skipped], out: Path, list_out: Path) -> None:
    seconds = manifest.seconds
    total, shortest, longest = map(duration_text, (seconds.sum(), seconds.min(), seconds.max()))
    facts(
        f"audio {path}",
        {
            "files": f"{len(manifest):,}",
            "duration": f"{total}, {shortest} to {longest} a file",
            "rates": _counted(manifest.column("rate"), " Hz"),
            "channels": _counted(manifest.column("channels"), ""),
            "manifest": out,
            "skipped": f"{len(skipped):,}, listed in {list_out}",
            "": first(described(skipped)),
            "note": "\n".join(manifest.notes) or None,
        },
    )


def _counted(values: np.ndarray, unit: str) -> list[str]:
    """Each value and its number of files, most frequent first."""
    return [f"{value:,}{unit} × {count:,}" for value, count in Counter(values.tolist()).most_common()]
