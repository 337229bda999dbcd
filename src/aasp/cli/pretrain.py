"""`aasp pretrain`: from a recipe and a set of audio to a run and a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from aasp.cli.arguments import Settings, parse, set_threads, settings, stopping_with_75
from aasp.cli.inputs import TABLES, line
from aasp.cli.running import DeviceOptions
from aasp.errors import AaspError

if TYPE_CHECKING:
    from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Pretrain(DeviceOptions):
    """Pre-train a recipe on audio. Writes the model to RUN/model; the same command again resumes the run.

    Ctrl-C, SIGTERM and SIGUSR1 save a checkpoint first; the latter two exit with 75, "try again". On several devices:
    `torchrun --nproc-per-node=2 -m aasp pretrain …`.
    """

    recipe: tyro.conf.Positional[str]
    """Name of a recipe (`aasp recipes` lists them), or file.py:function for your own."""
    data: Path | None = None
    """Folder, .csv, .tsv or .parquet manifest of audio, tar shards or Parquet files of sounds, a glob pattern of them,
    or a URL of one of these."""
    out: Path
    """Folder of the run: a new one, or this run, to resume."""
    steps: int | None = None
    """Optimizer steps; the schedules scale with them."""
    resume: str = "auto"
    """auto: resume the last checkpoint in --out; never: require a new folder; or a checkpoint or run to resume."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Start from the weights of a run, a checkpoint or a model, as far as they fit, at step 0."""
    extend: int | None = None
    """Train a finished run for this many more steps, with the learning rates of a run of the new length."""
    data_changed: bool = False
    """Resume although the data has changed; the change is recorded."""
    set: Settings = ()
    """Recipe fields to change (`aasp recipes NAME` shows them all); if a field is repeated, its last value is used."""
    seed: int | None = None
    """Seed of weights, masks and data order."""
    workers: int = 2
    """Threads that decode audio."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 or fp32, whichever is faster on this machine; a resumed run keeps its precision."""
    threads: int | None = None
    """CPU threads of torch, one per core by default; with the same number, a resumed run is bit-exact."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between log lines."""
    track: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ("tensorboard",)
    """Trackers, in addition to metrics.jsonl; TensorBoard by default."""
    path_column: str | None = None
    """Column of the manifest that holds the paths."""
    channels: str = "mean"
    """Channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each (one clip per channel)."""


def run(argv: list[str]) -> int:
    arguments = parse(Pretrain, argv, prog="aasp pretrain")
    recipe = arguments.recipe
    if Path(recipe).is_dir() or Path(recipe).suffix.lower() in TABLES:
        meant = [word for word in argv if word not in (recipe, "--data", str(arguments.data))]
        raise AaspError(f"{recipe} is not a recipe: {line('pretrain', 'aasp_tiny', '--data', recipe, *meant)}")
    if arguments.data is None:
        raise AaspError(f"no audio named: {line('pretrain', *argv, '--data', 'recordings')}")
    arguments.place()
    with stopping_with_75():
        return train(arguments, recipe_of(arguments))


def recipe_of(arguments: Pretrain) -> Recipe:
    """The requested recipe."""
    from aasp.config import with_fields
    from aasp.pretrain import recipes
    from aasp.training.run import recorded_steps

    fields = settings(arguments.set, steps=arguments.steps, seed=arguments.seed)
    recorded = recorded_steps(arguments.out, arguments.resume) if arguments.extend is not None else None
    if recorded is not None:
        fields.setdefault("steps", str(recorded))
    return with_fields(recipes.get(arguments.recipe), fields)


def train(arguments: Pretrain, recipe: Recipe) -> int:
    """Train a recipe with the command's other options; returns the exit code."""
    from aasp.pretrain.run import pretrain

    assert arguments.data is not None
    set_threads(arguments.threads)
    return pretrain(
        recipe,
        arguments.data,
        arguments.out,
        resume=arguments.resume,
        start_from=arguments.from_,
        extend=arguments.extend,
        data_changed=arguments.data_changed,
        workers=arguments.workers,
        precision=arguments.precision,
        device=arguments.device,
        log_every=arguments.log_every,
        track=arguments.track,
        checkpoint_every=arguments.checkpoint_every,
        path_column=arguments.path_column,
        channels=arguments.channels,
    ).exit_code
