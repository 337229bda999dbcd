"""`aasp shard`: a set of audio as tar shards with an index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from aasp.cli.arguments import parse
from aasp.cli.progress import bar
from aasp.errors import AaspError
from aasp.formats import duration_text


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Write a set as tar shards in WebDataset's layout, with an index of the position of each sound.

    The folder can be used like any other data set. If the command is stopped, the same command resumes, and the shards
    are the same to the byte. Files that cannot be used are skipped, counted, and listed in skipped.csv.
    """

    path: tyro.conf.Positional[str]
    """Folder, .csv, .tsv or .parquet manifest of audio, or shards or Parquet files of sounds, here or by URL."""
    out: Path
    """Folder to write: new, empty, or with the unfinished shards of this command."""
    size_mb: int = 256
    """Size of a shard in megabytes."""
    flac: bool = False
    """Re-encode as FLAC of 16 bits, mono, 16 kHz; otherwise files are copied as they are."""
    columns: tuple[str, ...] = ()
    """Columns of the manifest to keep; all by default."""
    channels: str = "mean"
    """With --flac, channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each."""
    workers: int = 2
    """Threads that read and encode."""
    path_column: str | None = None
    """Column of an index that holds the paths."""


def run(argv: list[str]) -> int:
    arguments = parse(Shard, argv, prog="aasp shard")
    if arguments.size_mb < 1:
        raise AaspError(f"--size-mb is {arguments.size_mb}; give megabytes of a shard, at least 1")
    if arguments.channels != "mean" and not arguments.flac:
        raise AaspError(f"--channels {arguments.channels}: files are copied whole; add --flac, or leave it out")

    from aasp.datasets.manifest import Manifest
    from aasp.datasets.shard_folder import SKIPPED
    from aasp.datasets.sharding import Settings, shard

    manifest, unusable = Manifest.open(arguments.path, path_column=arguments.path_column, channels=arguments.channels)
    settings = Settings(arguments.size_mb, arguments.flac, arguments.columns)
    with bar("writing") as show:
        written = shard(manifest, unusable, arguments.out, settings, workers=arguments.workers, progress=show)
    left = f"; {written.skipped:,} skipped, listed in {arguments.out / SKIPPED}" if written.skipped else ""
    held = f"{written.samples:,} sound(s), {duration_text(written.seconds)}, {written.bytes / 1e6:,.1f} MB"
    print(f"{arguments.out}: {written.shards:,} shard(s), {held}{left}")
    return 0
