"""From a recipe and a set of audio to a run: what `aasp pretrain` and the demo call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from aasp.config import to_dict
from aasp.datasets.manifest import Manifest
from aasp.datasets.pipeline import CropPipeline
from aasp.errors import AaspError
from aasp.pretrain.objective import PretrainObjective
from aasp.pretrain.recipe import Recipe
from aasp.training import engine
from aasp.training.bookkeeping import Bookkeeping
from aasp.training.loop import Result, Settings, train
from aasp.training.precision import Precision, settle
from aasp.training.randomness import seed
from aasp.training.run import Run, check_run, open_run
from aasp.training.schedules import Schedules, cosine_schedules, ramp
from aasp.weights import write_directory

CACHED_HOURS = 8  # sets up to this size are kept in memory, 230 MB an hour


def pretrain(
    recipe: Recipe,
    data: str | Path,
    out: str | Path,
    *,
    resume: str | Path = "auto",
    workers: int = 2,
    precision: Precision = "auto",
    log_every: int = 50,
    checkpoint_every: int = 500,
    path_column: str | None = None,
) -> Result:
    """Pre-train a recipe on a set of audio; ``out/model`` is then an `AudioEncoder`.

    Args:
        recipe: everything of the run but the data.
        data: a folder, or a .csv, .tsv or .parquet manifest with a column `path`, or what `path_column` says.
        out: the run's directory: new, empty, or holding this very run.
        resume: ``auto`` goes on from the last checkpoint in `out`, ``never`` wants a new directory, a path goes on from
            that checkpoint or run.
        workers: threads that decode audio.
        precision: of the forward pass; ``auto`` is bf16 or fp32, whichever is faster on this machine, and stays what it
            was when a run goes on.
        log_every, checkpoint_every: steps between log lines, and between checkpoints.

    Returns:
        The step it ended at, and the exit code: 0 done, 75 or 130 asked by a signal to stop.

    Raises:
        AaspError: bad data or settings, or `out` holds something else; training broke down (`TrainingStopped`).
        OSError: the disk is full; the last checkpoint is kept.
    """
    machine = engine.accelerator()
    precision = settle(precision, machine, Run(Path(out)).environment)
    settings = Settings(
        name=recipe.name,
        clip=recipe.optimizer.clip,
        betas=recipe.optimizer.betas,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        precision=precision,
    )
    schedules = schedules_of(recipe)
    check_run(out, to_dict(recipe), resume)
    manifest, unusable = Manifest.open(data, path_column=path_column)
    pipeline = _pipeline(recipe, manifest, workers, machine)
    seed(recipe.seed)
    objective = PretrainObjective(recipe, gather=engine.gatherer(machine))
    seed(recipe.seed + machine.process_index)  # each process draws masks of its own

    with open_run(out, to_dict(recipe), machine, resume=resume) as (run, start):
        record = Bookkeeping(recipe.name, recipe.steps, run, machine, pipeline, unusable)
        facts = {"data": manifest.source, "files": len(manifest), "hours": round(manifest.total_hours, 3)}
        told = [f"{len(manifest):,} files, {manifest.total_hours:.2f} h of audio", *manifest.notes]
        record.begin("; ".join(told), facts, start, precision)

        def on_checkpoint(step: int, tensors: Mapping[str, Tensor]) -> None:
            if machine.is_main_process:
                _write_model(recipe, run, tensors)
            record.write_skipped()

        result = train(
            objective,
            pipeline,
            run=run,
            schedules=schedules,
            machine=machine,
            fingerprint=recipe.fingerprint,
            settings=settings,
            measure=lambda batch: (len(batch["length"]), float(batch["length"].sum()) / recipe.model.frontend.rate),
            start=start,
            on_checkpoint=on_checkpoint,
        )
        record.end(result, f"done: {run.model} is the model, `aasp info {run.path}` tells of the run")
        return result


def schedules_of(recipe: Recipe) -> Schedules:
    """Learning rate: linear warm-up, then cosine; weight decay: constant; momentum: linear ramp, then constant.

    Raises:
        AaspError: the recipe has no steps.
    """
    teacher = recipe.teacher
    momentum = lambda steps: ramp(teacher.momentum, teacher.final_momentum, steps, over=round(teacher.ramp * steps))
    return cosine_schedules(recipe.optimizer, recipe.steps, momentum)


def _pipeline(recipe: Recipe, manifest: Manifest, workers: int, machine: Accelerator) -> CropPipeline:
    """This process's share of the recipe's batches."""
    world = machine.num_processes
    if recipe.data.batch % world:
        raise AaspError(f"data.batch is {recipe.data.batch}, for {world} processes; give a multiple of {world}")
    return CropPipeline(
        manifest,
        seconds=recipe.data.crop_seconds,
        batch=recipe.data.batch // world,
        seed=recipe.seed,
        rate=recipe.model.frontend.rate,
        workers=workers,
        shard=(machine.process_index, world),
        cache=manifest.total_hours * world <= CACHED_HOURS,
    )


def _write_model(recipe: Recipe, run: Run, tensors: Mapping[str, Tensor]) -> None:
    """Export the model, the teacher's average, from the objective's tensors."""
    prefix = "teacher.model."
    weights = {name.removeprefix(prefix): t.cpu() for name, t in tensors.items() if name.startswith(prefix)}
    write_directory(run.model, {"config.json": to_dict(recipe.model)}, weights)
