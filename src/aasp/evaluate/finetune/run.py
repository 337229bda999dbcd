"""From an encoder and a labelled set to a classifier and its predictions: the engine of `aasp finetune`.

A set with folds is trained once per fold, each in its own folder under the run. A round is trained on its train part,
its best checkpoint is chosen on its valid part and scored once on its test part; finished rounds are not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from aasp.audio.sounds import Sound
from aasp.datasets.events import Event
from aasp.datasets.fingerprint import contents
from aasp.datasets.index import Skipped
from aasp.evaluate.features import nothing_usable
from aasp.evaluate.finetune.data import Finetuning, measured, train_pipeline
from aasp.evaluate.finetune.earlier import check_classifiers, check_sounds, check_version
from aasp.evaluate.finetune.objective import FinetuneObjective, fit_head
from aasp.evaluate.finetune.over_time import by_segment, step_probabilities, tested
from aasp.evaluate.finetune.predict import NotFinite, class_probabilities
from aasp.evaluate.finetune.results import PREDICTIONS, VALIDATION, Outcome, gathered, history
from aasp.evaluate.finetune.targets import Targets, check_within, moments
from aasp.evaluate.metrics import rank
from aasp.evaluate.task import Round, Task
from aasp.evaluate.whitening import plain_weights
from aasp.files import atomic_write
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier, write_classifier
from aasp.training import checkpoint, engine
from aasp.training.environment import own_code_fact
from aasp.training.loop import Settings, TrainingStopped, train
from aasp.training.precision import Precision, resolve_precision
from aasp.training.randomness import seed
from aasp.training.run import Run, check_run, open_run
from aasp.training.run_manifest import RunManifest
from aasp.training.schedules import cosine_schedules
from aasp.training.share import share
from aasp.training.trackers import Name

WHITENED = "its vector is whitened, this run's is not; after the run, `aasp whiten` learns a new whitening"


def finetune(
    job: Finetuning,
    out: str | Path,
    *,
    resume: str = "auto",
    workers: int = 2,
    precision: Precision = "auto",
    device: str = "auto",
    log_every: int = 50,
    track: Sequence[Name] = ("tensorboard",),
) -> Outcome:
    """Fine-tune, round by round; the best checkpoint on the valid part is scored on whole clips of the test part.

    Args:
        job: model, data, recipe.
        out: the directory: new, empty, or with the same fine-tuning. A single round's classifier is in `model/`, those
            of folds in `fold-<name>/model/`.
        resume: ``auto`` resumes the run in `out`, ``never`` needs a new directory.
        workers: threads that decode audio.
        precision: of the forward pass in training; scores are computed in fp32.
        device: a name as in `aasp.devices`.
        log_every: steps between log lines.
        track: trackers that log each round, besides its `metrics.jsonl` (`aasp.training.trackers`).

    Raises:
        AaspError: bad data or settings, or `out` contains something else; training failed (`TrainingStopped`).
        OSError: the disk is full; the last checkpoint is kept.
    """
    machine = engine.accelerator(device)
    labelled, seconds = measured(job.labelled)
    check_within(labelled, seconds)
    job = replace(job, labelled=labelled)
    task = Task.of(labelled, choose="held_out", seed=job.recipe.seed)
    folders = round_folders(Path(out), task)
    for folder, round_ in zip(folders, task.rounds, strict=True):
        check_version(folder, job.document(round_))
        check_run(folder, job.document(round_), resume)
    check_sounds(folders, labelled)
    check_classifiers(folders, [_config(job, task, round_) for round_ in task.rounds])
    settings = Settings(
        name=job.recipe.name,
        optimizer=job.recipe.optimizer,
        log_every=log_every,
        checkpoint_every=job.recipe.validate_every,
        keep=1,
        precision=resolve_precision(precision, machine, Run(folders[0]).environment),
        track=track,
    )
    for folder, round_ in zip(folders, task.rounds, strict=True):
        exit_code = train_round(job, task, round_, seconds, folder, settings, machine, resume, workers)
        if exit_code:
            return Outcome(exit_code, labelled, task, None, folders)
    machine.wait_for_everyone()
    if not machine.is_main_process:
        return Outcome(0, labelled, task, None, folders)
    result, undecoded = gathered(task, folders)
    missing = [*labelled.missing, *undecoded]
    return Outcome(0, replace(labelled, missing=missing), task, result, folders)


def round_folders(out: Path, task: Task) -> list[Path]:
    """The directory of each round: the run itself if there is only one."""
    return [out] if len(task.rounds) == 1 else [out / f"fold-{round_.name}" for round_ in task.rounds]


def _config(job: Finetuning, task: Task, round_: Round) -> AudioClassifierConfig:
    return job.classifier_config(moments(task.y[round_.train]) if task.regression else None)


def train_round(
    job: Finetuning,
    task: Task,
    round_: Round,
    seconds: np.ndarray,
    folder: Path,
    settings: Settings,
    machine: Accelerator,
    resume: str,
    workers: int,
) -> int:
    """Train and score one round, unless already done.

    Args:
        job: model, data, recipe.
        task: of the whole set.
        round_: one of its rounds.
        seconds: duration of each clip of the set, (n,).
        folder: the round's own directory.
        settings: of the loop.
        machine: processes and devices; the first process scores and writes.
        resume, workers: as in `finetune`.

    Returns:
        The exit code for a signal, or 0; `folder` then has `predictions.npz`: "rows" of the set, "probabilities"
        (rows, K), NaN for clips that could not be decoded, and those clips as "skipped", (path, reason).
    """
    recipe, labelled, predictions = job.recipe, job.labelled, folder / PREDICTIONS
    if predictions.exists():
        return 0
    front, events = job.encoder.config.frontend, labelled.events
    config = _config(job, task, round_)
    options: dict[str, Any] = dict(front=front, workers=workers, machine=machine)
    if events is not None:
        options["steps"] = Targets(config, [events[row] for row in round_.train])
    last = checkpoint.latest(folder)
    state = None if last is None else checkpoint.read_state(last)[1]
    world = machine.num_processes
    own = share(recipe.batch, recipe.optimizer.accumulate, world, state, recipe.across, "batch")
    settings = replace(settings, accumulate=own.micro_batches)
    pipeline = train_pipeline(recipe, labelled, seconds, task, round_, batch=own.clips, **options)
    seed(recipe.seed)
    classifier = AudioClassifier(config)
    notes = list(own.notes)
    if not job.scratch:
        classifier.encoder.load_state_dict(plain_weights(job.encoder))
        notes += [f"{job.model}: {WHITENED}"] if job.encoder.whitening is not None else []
    seed(recipe.seed + machine.process_index)  # each process augments differently
    sounds = lambda rows: [labelled.sounds[row] for row in rows]
    document = job.document(round_)
    with open_run(folder, document, machine, resume=resume) as (run, start):
        name = f"{recipe.name}, part {round_.name}"
        unusable: list[Skipped] = []  # clips that exist but can't be decoded, found when they are scored
        run_manifest = RunManifest(name, recipe.steps, run, machine, pipeline, unusable)
        what = f"with numbers, {task.classes[0]}" if task.regression else f"of {len(task.classes)} classes"
        summary = f"{len(round_.train):,} clips {what}, {len(round_.valid):,} for validation"
        facts = document["finetuned"] | {"contents": contents(len(labelled), labelled.sounds.__getitem__)}
        facts |= own_code_fact(recipe)
        run_manifest.begin(summary, facts, start, settings.precision)
        run_manifest.print_lines(notes)
        if recipe.head == "probe" and start is None:
            line = f"the head starts as a linear probe: embedding {len(round_.train):,} training clips"
            run_manifest.print_lines([line])
            fit_head(classifier.to(machine.device), sounds(round_.train), task.y[round_.train], recipe.loss, machine)
        objective = FinetuneObjective(
            classifier, recipe, engine.gatherer(machine) if machine.num_processes > 1 else None
        )
        with torch.random.fork_rng():
            scored = AudioClassifier(config).to(machine.device)
        true = None if events is None else [events[row] for row in round_.valid]
        validation = Validation(run, scored, sounds(round_.valid), task.y[round_.valid], unusable, true)

        def score(step: int, tensors: Mapping[str, Tensor]) -> None:
            # Not checkpoints saved on a signal: an interrupted run chooses among the same checkpoints as any other.
            if machine.is_main_process and (step % recipe.validate_every == 0 or step == recipe.steps):
                validation(step, tensors)

        def on_checkpoint(step: int, tensors: Mapping[str, Tensor]) -> None:
            score(step, tensors)
            run_manifest.write_skipped()

        if start is not None:  # in case a crash came between a checkpoint and its score
            saved = checkpoint.load(start)
            score(saved.step, saved.model)
        result = train(
            objective,
            pipeline,
            run=run,
            schedules=cosine_schedules(recipe.optimizer, recipe.steps, {}),
            machine=machine,
            fingerprint=recipe.fingerprint,
            settings=settings,
            measure=lambda batch: (len(batch["length"]), float(batch["length"].sum()) / front.rate),
            start=start,
            on_checkpoint=on_checkpoint,
        )
        run_manifest.end(result, "")
        if result.exit_code == 0:
            if machine.is_main_process:
                best = load_classifier(run.model, machine.device)
                found, more = tested(best, sounds(round_.test), unusable)
            skipped = np.array(run_manifest.write_skipped(), dtype=str).reshape(-1, 2)
            if machine.is_main_process:
                with atomic_write(predictions) as beside:
                    np.savez(beside, rows=round_.test, probabilities=found, skipped=skipped, **more)  # type: ignore[arg-type]
    return result.exit_code


class Validation:
    """Scores checkpoints on the valid part, logs them to `validation.jsonl`, and saves the best as the run's model.

    Equal scores, common with few clips, are resolved by the lower loss.

    Args:
        run: the run.
        classifier: scratch space for the weights that are scored.
        sounds: the valid part.
        truth: its class indices (n,), multi-hot (n, K), or numbers (n,).
        unusable: collects clips that can't be decoded, each once; they are left out of every score.
        events: events of each clip, for a classifier over time: one-second segments are then ranked, not clips.
    """

    def __init__(
        self,
        run: Run,
        classifier: AudioClassifier,
        sounds: Sequence[Sound],
        truth: np.ndarray,
        unusable: list[Skipped],
        events: Sequence[Sequence[Event]] | None = None,
    ) -> None:
        self._events = events
        self._run, self._classifier, self._unusable = run, classifier, unusable
        self._sounds, self._truth = sounds, truth
        self.lines = history(run.path)

    def __call__(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Score the objective's tensors after `step`, once."""
        if any(line["step"] == step for line in self.lines):
            return
        self._classifier.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items()})
        skipped: list[Skipped] = []
        try:
            truth, found = self._said(skipped)
        except NotFinite as error:
            raise TrainingStopped(f"fine-tuning stopped at step {step}: {error}", self._run.path) from None
        self._unusable.extend(file for file in skipped if file not in self._unusable)
        usable = np.isfinite(found).all(axis=1)
        score, likelihood = rank(truth[usable], found[usable])
        best = all((score, likelihood) > (line["score"], -line["loss"]) for line in self.lines)
        if best:
            write_classifier(self._run.model, self._classifier.config, self._classifier.state_dict())
        self.lines.append({"step": step, "score": score, "loss": -likelihood, "best": best})
        with atomic_write(self._run.path / VALIDATION) as beside:
            beside.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def _said(self, skipped: list[Skipped]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predictions of clips, or of their one-second segments."""
        if self._events is None:
            return self._truth, class_probabilities(self._classifier, self._sounds, skipped=skipped)
        steps = step_probabilities([self._classifier], self._sounds, skipped=skipped)
        pairs = [(one, true) for one, true in zip(steps, self._events, strict=True) if one is not None]
        if not pairs:
            raise nothing_usable(skipped)
        return by_segment(*zip(*pairs, strict=True), self._classifier.config.classes)  # type: ignore[call-arg, arg-type]
