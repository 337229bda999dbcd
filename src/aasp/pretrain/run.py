"""Pre-training of a recipe on a set of audio: the function behind `aasp pretrain` and the demo."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from aasp.audio.channels import Channels
from aasp.config import to_dict
from aasp.datasets.fingerprint import contents
from aasp.datasets.manifest import Manifest
from aasp.datasets.pipeline import CropPipeline
from aasp.errors import AaspError
from aasp.pretrain.initial import exported, read_initial
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe, comparable
from aasp.training import engine
from aasp.training.environment import own_code_fact
from aasp.training.history import History, Start
from aasp.training.loop import Result, Settings, train
from aasp.training.precision import Precision, resolve_precision
from aasp.training.randomness import seed
from aasp.training.run import Run, check_run, open_run, recorded_steps
from aasp.training.run_manifest import RunManifest
from aasp.training.schedules import Schedules, cosine_schedules
from aasp.training.share import share
from aasp.training.trackers import Name
from aasp.weights import write_directory

CACHED_HOURS = 8  # sets up to this size are kept in memory, 230 MB per hour


def pretrain(
    recipe: Recipe,
    data: str | Path,
    out: str | Path,
    *,
    resume: str | Path = "auto",
    start_from: str | Path | None = None,
    extend: int | None = None,
    data_changed: bool = False,
    workers: int = 2,
    precision: Precision = "auto",
    device: str = "auto",
    log_every: int = 50,
    checkpoint_every: int = 500,
    path_column: str | None = None,
    channels: Channels | str = "mean",
    track: Sequence[Name] = ("tensorboard",),
    on_model: Callable[[int, Path], None] = lambda step, model: None,
) -> Result:
    """Pre-train a recipe on a set of audio; the resulting `AudioEncoder` is in ``out/model``.

    Args:
        recipe: all settings of the run except the data.
        data: as in `Manifest.open`: a folder, shards, or a manifest with a column `path` (or `path_column`).
        out: the run's directory: new, empty, or holding the same run.
        resume: ``auto`` resumes from the last checkpoint in `out`, ``never`` needs a new directory, a path resumes from
            that checkpoint or run.
        start_from: a run, a checkpoint or a model whose weights a new run starts from (see `aasp.pretrain.initial`).
        extend: train a finished run for this many more steps; an interrupted extension resumes.
        data_changed: continue with the current data although it differs from the run's.
        workers: threads that decode audio.
        device: a device name as in `aasp.devices`.
        precision: precision of the forward pass; ``auto`` is bf16 or fp32, whichever is faster on this machine; a
            resumed run keeps its precision.
        log_every, checkpoint_every: steps between log lines, and between checkpoints.
        path_column: the manifest's column to use as `path`.
        channels: which channels of multichannel files to read (`aasp.audio.channels`).
        track: trackers to show the run in, in addition to `metrics.jsonl` (`aasp.training.trackers`).
        on_model: called after each checkpoint with its step and the folder of the current model; again for the
            checkpoint that a run resumes from.

    Returns:
        The step at which it ended, and the exit code: 0 finished, 75 or 130 stopped by a signal.

    Raises:
        AaspError: bad data or settings, or `out` holds something else; training failed (`TrainingStopped`).
        OSError: the disk is full; the last checkpoint is kept.
    """
    machine = engine.accelerator(device)
    start = Start.of(out, resume)
    initial = read_initial(start_from) if start is None and start_from is not None else None
    if start is None:
        history = History(None if initial is None else initial.facts)
    else:
        history = start.history.from_origin(start_from)
    document = to_dict(recipe) | ({"started_from": dict(history.started_from)} if history.started_from else {})
    more = recipe.steps - (recorded_steps(out, resume) or recipe.steps)
    remedies = {"steps": f"--extend {more} to train a finished run that much longer"} if more > 0 else {}
    check_run(out, document, resume, remedies, comparable)
    if start is not None:
        start.check(recipe.fingerprint)
    history = history.extended_by(extend, start, recipe.steps)
    steps = history.steps(recipe.steps)
    finished = start is not None and start.step >= steps
    if start is not None and finished and not start.within(out):
        raise AaspError(f"{_finished(start.path, steps)}, --from {resume} starts another run from its weights")
    precision = resolve_precision(precision, machine, Run(Path(out)).environment)
    own = share(
        recipe.data.batch,
        recipe.optimizer.accumulate,
        machine.num_processes,
        None if start is None else start.state,
        recipe.method.across(recipe),
    )
    settings = Settings(
        name=recipe.name,
        optimizer=recipe.optimizer,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        precision=precision,
        track=track,
        accumulate=own.micro_batches,
    )
    recipe.method.check(recipe, machine.num_processes * own.micro_batches)
    manifest, unusable = Manifest.open(data, path_column=path_column, channels=channels)
    pipeline = _pipeline(recipe, manifest, own.clips, workers, machine, data_changed)
    if start is not None:
        history = history.with_data(pipeline, start, data_changed)
    seed(recipe.seed)
    objective = build_objective(recipe, engine.gatherer(machine))
    notes = history.since(start) if initial is None else initial.load_into(objective)
    seed(recipe.seed + machine.process_index)  # each process draws its own masks

    with open_run(out, document, machine, resume=resume, read=comparable) as (run, path):
        if path != (start and start.path):
            raise AaspError(f"run in use: {out} has continued to {path} meanwhile; start the same command again")
        run_manifest = RunManifest(recipe.name, steps, run, machine, pipeline, unusable)
        facts = {"data": manifest.source, **data_facts(manifest, pipeline.listing), **history.document()}
        facts |= own_code_fact(recipe)
        lines = [f"{len(manifest):,} files, {manifest.total_hours:.2f} h of audio", *manifest.notes]
        run_manifest.begin("; ".join(lines), facts, path, precision)
        run_manifest.print_lines([*notes, *own.notes])

        def on_checkpoint(step: int, tensors: Mapping[str, Tensor]) -> None:
            if machine.is_main_process:
                _write_model(recipe, run, objective.exported, tensors, history)
                on_model(step, run.model)
            run_manifest.write_skipped()

        result = train(
            objective,
            pipeline,
            run=run,
            schedules=schedules_of(recipe, [extension["steps"] for extension in history.extended]),
            machine=machine,
            fingerprint=recipe.fingerprint,
            settings=settings,
            measure=lambda batch: (len(batch["length"]), float(batch["length"].sum()) / recipe.model.frontend.rate),
            start=path,
            on_checkpoint=on_checkpoint,
            history=history.document() | exported(objective),
        )
        done = f"done: {run.model} is the model, `aasp info {run.path}` describes the run"
        if finished:
            done = f"{_finished(run.path, steps)}; {run.model} is the model"
        run_manifest.end(result, done)
        return result


def data_facts(manifest: Manifest, listing: str) -> dict[str, Any]:
    """The identity of a run's data, as recorded.

    Args:
        manifest: the data.
        listing: from `aasp.datasets.pipeline.listing`.
    """
    hours, hash_ = round(manifest.total_hours, 3), contents(len(manifest), manifest.sound)
    return {"files": len(manifest), "hours": hours, "listing": listing, "contents": hash_}


def schedules_of(recipe: Recipe, extensions: Sequence[int] = ()) -> Schedules:
    """Schedules of a run: learning rate (linear warm-up, then cosine), weight decay (constant), and the method's own.

    The steps of an extension have the rates of a run with the extended length from the start; the method's own
    schedules continue at their final values.

    Args:
        recipe: the recipe, whose steps come first.
        extensions: steps of each extension.

    Raises:
        AaspError: the recipe has no steps, or a method's schedule has the name of one of the optimizer's.
    """
    own = lambda more: recipe.method.schedules(recipe.steps, more)
    for name in own(0).keys() & {"learning_rate", "weight_decay"}:
        raise AaspError(f"{type(recipe.method).__name__}: a schedule {name}, which is the optimizer's; rename it")
    schedules = cosine_schedules(recipe.optimizer, recipe.steps, own(0))
    for steps in extensions:
        longer = len(schedules) + steps
        schedules = schedules.then(cosine_schedules(recipe.optimizer, longer, own(longer - recipe.steps)))
    return schedules


def _finished(path: Path, steps: int) -> str:
    return f"nothing left to do: {path} has done all of its {steps:,} steps; --extend STEPS gives it more"


def _pipeline(
    recipe: Recipe, manifest: Manifest, batch: int, workers: int, machine: Accelerator, data_changed: bool
) -> CropPipeline:
    """The data pipeline of this process, in batches of `batch` clips."""
    world = machine.num_processes
    return CropPipeline(
        manifest,
        seconds=recipe.data.crop_seconds,
        batch=batch,
        seed=recipe.seed,
        rate=recipe.model.frontend.rate,
        workers=workers,
        shard=(machine.process_index, world),
        cache=manifest.total_hours * world <= CACHED_HOURS,
        shortest=recipe.model.frontend.shortest_ms / 1000,
        data_changed=data_changed,
    )


def _write_model(recipe: Recipe, run: Run, exported: str, tensors: Mapping[str, Tensor], history: History) -> None:
    """Export the model from the objective's tensors."""
    weights = {name.removeprefix(exported): t.cpu() for name, t in tensors.items() if name.startswith(exported)}
    metadata = {"started_from": json.dumps(history.started_from)} if history.started_from else None
    write_directory(run.model, {"config.json": to_dict(recipe.model)}, weights, metadata)
