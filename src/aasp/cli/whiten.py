"""`aasp whiten`: a model whose default vector is whitened on the user's sounds, without labels or training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from aasp.cli.arguments import parse
from aasp.cli.inputs import line
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions
from aasp.cli.skipped import described, show
from aasp.errors import AaspError


@dataclass(frozen=True, kw_only=True)
class Whiten(RunningOptions):
    """Learn a whitening of a model's default vector from sounds without labels, and save the model with it.

    The directions that dominate all distances are scaled down to the level of the next; no number is lost. Neighbours,
    maps and linear probes get better from it (docs/data.md). Only the default vector changes, no weight and no layer.
    """

    model: tyro.conf.Positional[str | None] = None
    """Folder of a model or of a run, or a model on the hub; the model in the package if omitted."""
    data: Path | None = None
    """Folder, manifest, shards or URL of sounds like those that the vectors are for."""
    out: Path | None = None
    """Folder to write."""
    directions: int = 128
    """Number of directions to scale down."""
    excerpts: int = 4_000
    """Number of excerpts of half a second to four to learn from, at most."""
    seed: int = 0
    """Seed of the choice of excerpts."""
    channels: str = "mean"
    """Channel of multi-channel files: mean, first, loudest, a number from 1, or each."""
    path_column: str | None = None
    """Column of a manifest that holds the paths."""
    overwrite: bool = False
    """Replace an existing model."""


def run(argv: list[str]) -> int:
    arguments = parse(Whiten, argv, prog="aasp whiten")
    if arguments.data is None:
        raise AaspError(f"--data is missing: {line('whiten', *argv, '--data', 'recordings')}")
    if arguments.out is None:
        raise AaspError(f"--out is missing: {line('whiten', *argv, '--out', 'models/even')}")
    for name, value in (("directions", arguments.directions), ("excerpts", arguments.excerpts)):
        if value < 1:
            raise AaspError(f"--{name} is {value}; give a positive number")
    if arguments.excerpts < arguments.directions + 2:
        text = f"--excerpts {arguments.excerpts} for {arguments.directions} directions"
        raise AaspError(f"{text}; give at least {arguments.directions + 2}, better some thousands")
    if arguments.out.exists() and not arguments.overwrite:
        raise AaspError(f"output exists: {arguments.out}; choose another folder or add --overwrite")

    from aasp.datasets.manifest import Manifest
    from aasp.evaluate.whitening import excerpts, whitened
    from aasp.model.audio_encoder import load
    from aasp.model.folder import default_model

    encoder = load(arguments.model or default_model(), arguments.place())
    manifest, skipped = Manifest.open(arguments.data, path_column=arguments.path_column, channels=arguments.channels)
    sounds = excerpts(manifest, arguments.excerpts, arguments.seed)
    options = dict(running=arguments.running(), skipped=skipped)
    with bar("embedding") as shown:
        made = whitened(encoder, sounds, arguments.directions, progress=shown, **options)  # type: ignore[arg-type]
    made.cpu().save(arguments.out)
    show(described(skipped), "they are not learned from")
    hours = sum(sound.seconds for sound in sounds) / 3600
    learned = f"{len(sounds):,} excerpts, {hours:.2f} h"
    print(f"{arguments.out}: {arguments.directions} directions scaled down, learned from {learned}")
    return 0
