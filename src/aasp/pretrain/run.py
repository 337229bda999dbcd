"""From a recipe and a set of audio to a run: what `aasp pretrain` and the demo call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from aasp.config import to_dict
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import Manifest, write_skipped
from aasp.datasets.pipeline import CropPipeline
from aasp.errors import AaspError
from aasp.model.weights import write_directory
from aasp.pretrain.objective import PretrainObjective
from aasp.pretrain.recipe import Recipe
from aasp.training import engine, environment
from aasp.training.loop import Result, Settings, train
from aasp.training.randomness import seed
from aasp.training.run import Run, check_run, open_run
from aasp.training.schedules import Schedules, constant, ramp, warmup_cosine

CACHED_HOURS = 8  # sets up to this size are kept in memory, 230 MB an hour


def pretrain(
    recipe: Recipe,
    data: str | Path,
    out: str | Path,
    *,
    resume: str | Path = "auto",
    workers: int = 2,
    precision: engine.Precision = "auto",
    log_every: int = 50,
    checkpoint_every: int = 500,
) -> Result:
    """Pre-train a recipe on a set of audio; ``out/model`` is then an `AudioEncoder`.

    Args:
        recipe: everything of the run but the data.
        data: a folder, a .csv or a .parquet manifest.
        out: the run's directory: new, empty, or holding this very run.
        resume: ``auto`` goes on from the last checkpoint in `out`, ``never`` wants a new directory, a path goes on from
            that checkpoint or run.
        workers: threads that decode audio.
        precision: of the forward pass; ``auto`` is bf16 where that is fast.
        log_every: steps between log lines.
        checkpoint_every: steps between checkpoints.

    Returns:
        The step it ended at, and the exit code: 0 done, 75 or 130 asked by a signal to stop.

    Raises:
        AaspError: bad data or settings, or `out` holds something else; training broke down (`TrainingStopped`).
        OSError: the disk is full; the last checkpoint is kept.
    """
    machine = engine.accelerator()
    precision = engine.settle(precision, machine.device)
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
    manifest, unusable = Manifest.open(data)
    pipeline = _pipeline(recipe, manifest, workers, machine)
    seed(recipe.seed)
    objective = PretrainObjective(recipe, gather=engine.gatherer(machine))
    seed(recipe.seed + machine.process_index)  # each process draws masks of its own

    with open_run(out, to_dict(recipe), machine, resume=resume) as (run, start):
        record = Bookkeeping(recipe, run, machine, pipeline, unusable)
        record.begin(manifest, start, precision)
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
            on_checkpoint=record.write,
        )
        record.end(result)
        return result


def schedules_of(recipe: Recipe) -> Schedules:
    """Learning rate: linear warm-up, then cosine; weight decay: constant; momentum: linear ramp, then constant.

    Raises:
        AaspError: the recipe has no steps.
    """
    steps, optimizer, teacher = recipe.steps, recipe.optimizer, recipe.teacher
    if steps < 1:
        raise AaspError(f"steps is {steps}; give a number of at least 1")
    return Schedules(
        warmup_cosine(optimizer.lr, steps, warmup=round(optimizer.warmup * steps), final=optimizer.final_lr),
        constant(optimizer.weight_decay, steps),
        ramp(teacher.momentum, teacher.final_momentum, steps, over=round(teacher.ramp * steps)),
    )


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


class Bookkeeping:
    """What a pre-training run keeps beside its checkpoints: the model as people use it, and the skipped files.

    Args:
        recipe: what is trained.
        run: where.
        machine: processes; the first writes.
        pipeline: knows the files that failed to decode.
        unusable: files that were left out from the start.
    """

    def __init__(
        self, recipe: Recipe, run: Run, machine: Accelerator, pipeline: CropPipeline, unusable: list[Skipped]
    ) -> None:
        self._recipe, self._run, self._machine = recipe, run, machine
        self._pipeline, self._unusable, self._told = pipeline, unusable, 0

    def begin(self, manifest: Manifest, start: Path | None, precision: str) -> None:
        """Write down what the run starts on, and say it."""
        facts = environment.describe(self._machine, precision)
        data = {"data": manifest.source, "files": len(manifest), "hours": round(manifest.total_hours, 3)}
        step = int(start.name.removeprefix("step-")) if start is not None else 0
        if self._machine.is_main_process:
            changed = environment.record(self._run.environment, step, facts | data)
            place = f"{facts['device']} in {precision}, {facts['processes']} × {facts['threads']} threads"
            print(f"{self._recipe.name}: {len(manifest):,} files, {manifest.total_hours:.2f} h of audio; {place}")
            if start is not None:
                print(f"going on from {start}")
            if start is not None and changed:
                print(f"on another footing than before ({'; '.join(changed)}): last digits will differ")
        self._write_skipped()

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Export the model, the teacher's average, from the objective's tensors; bring the skipped files up to date."""
        if self._machine.is_main_process:
            prefix = "teacher.model."
            weights = {name.removeprefix(prefix): t.cpu() for name, t in tensors.items() if name.startswith(prefix)}
            write_directory(self._run.model, {"config.json": to_dict(self._recipe.model)}, weights)
        self._write_skipped()

    def end(self, result: Result) -> None:
        """Say how it ended, and what now."""
        if self._machine.is_main_process and result.exit_code:
            print(f"stopped at step {result.step} of {self._recipe.steps}, saved; the same command goes on from there")
        elif self._machine.is_main_process:
            print(f"done: {self._run.model} is the model, `aasp info {self._run.path}` tells of the run")

    def _write_skipped(self) -> None:
        """Every process must call it: each knows of its own files."""
        skipped = sorted({*self._unusable, *gather_object(self._pipeline.skipped)})
        if self._machine.is_main_process and len(skipped) > self._told:
            write_skipped(skipped, self._run.skipped)
            print(f"skipped files: {len(skipped):,}, listed in {self._run.skipped}")
        self._told = len(skipped)
