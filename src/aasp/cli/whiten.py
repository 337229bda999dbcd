"""`aasp whiten`: a model whose default vector is whitened on the user's sounds, without labels or training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from aasp.cli.arguments import parse, set_threads
from aasp.cli.inputs import line
from aasp.cli.progress import bar
from aasp.cli.running import RunningOptions
from aasp.cli.skipped import described, show
from aasp.errors import AaspError
from aasp.files import check_output


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
    directions: int | None = None
    """Number of directions to scale down; 128, or a quarter of the vector's numbers if that is less, by default."""
    excerpts: int = 4_000
    """Largest number of excerpts of 0.5 to 4 seconds to learn from."""
    seed: int = 0
    """Seed of the choice of excerpts."""
    channels: str = "mean"
    """Channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each."""
    path_column: str | None = None
    """Column of a manifest that holds the paths."""
    workers: int | None = None
    """Threads that decode ahead, one per core by default."""
    threads: int | None = None
    """CPU threads of torch; one per core by default."""
    overwrite: bool = False
    """Replace an existing model."""


def run(argv: list[str]) -> int:
    arguments = parse(Whiten, argv, prog="aasp whiten")
    if arguments.data is None:
        raise AaspError(f"--data is missing: {line('whiten', *argv, '--data', 'recordings')}")
    if arguments.out is None:
        raise AaspError(f"--out is missing: {line('whiten', *argv, '--out', 'models/whitened')}")
    for name, value in (("directions", arguments.directions), ("excerpts", arguments.excerpts)):
        if value is not None and value < 1:
            raise AaspError(f"--{name} is {value}; give a positive number")
    if arguments.out.exists() and not arguments.overwrite:
        raise AaspError(f"output exists: {arguments.out}; choose another folder or add --overwrite")
    check_output(arguments.out / "config.json", overwrite=True)
    set_threads(arguments.threads)

    from aasp.config import to_dict
    from aasp.datasets.manifest import Manifest
    from aasp.evaluate.whitening import DIRECTIONS, excerpts, whitened
    from aasp.model.audio_encoder import load
    from aasp.model.folder import default_model, find, read_config
    from aasp.model.readout import width
    from aasp.shapes import read_shapes
    from aasp.weights import WEIGHTS, check_directory, write_directory

    check_directory(arguments.out, ["config.json"])
    model, running = arguments.model or default_model(), arguments.running()
    if arguments.workers is not None:
        running = replace(running, workers=arguments.workers)
    classes = "classes" in read_config(find(model) / "config.json")
    if classes and Path(model).resolve() == arguments.out.resolve():
        raise AaspError(f"{model} is a classifier, which would lose its classes; choose another --out")
    encoder = load(model, arguments.place())
    numbers = width(encoder.config.keys, encoder.config.encoder.width, encoder.subbands)
    directions = arguments.directions or min(DIRECTIONS, numbers // 4)
    if directions >= numbers:
        text = f"--directions {directions}: the vector of {model} has {numbers:,} numbers"
        raise AaspError(f"{text}; give at most {numbers - 1:,}")
    manifest, skipped = Manifest.open(arguments.data, path_column=arguments.path_column, channels=arguments.channels)
    sounds, unusable = excerpts(manifest, arguments.excerpts, arguments.seed), len(skipped)
    if len(sounds) < directions + 2:
        text = f"{len(sounds):,} excerpts of {arguments.data} for {directions} directions"
        raise AaspError(f"{text}; at least {directions + 2} are needed: give more sound, or fewer --directions")
    with bar("embedding") as shown:
        made = whitened(encoder, sounds, directions, running=running, skipped=skipped, progress=shown)
    used = len(sounds) - (len(skipped) - unusable)
    learned = f"{used:,} excerpts of {arguments.data}, seed {arguments.seed}"
    _, metadata = read_shapes(find(model) / WEIGHTS)
    metadata = {**({} if classes else metadata), "whitened_on": learned}
    write_directory(arguments.out, {"config.json": to_dict(made.config)}, made.cpu().state_dict(), metadata)
    show(described(skipped), "not used")
    print(f"{arguments.out}: {directions} directions scaled down, learned from {used:,} excerpts")
    if classes:
        print(f"{model} is a classifier: this is its encoder, without its classes")
    return 0
