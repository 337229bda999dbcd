"""From an encoder and a labelled set to a classifier and its scores: what `aasp finetune` calls.

A set with folds is trained once a fold, each in a folder of its own under the run, and scored on all of them; what is
finished is never done twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from aasp.config import to_dict
from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.finetune.data import class_weights, measured, train_pipeline
from aasp.evaluate.finetune.objective import FinetuneObjective
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.finetune.validation import Validation
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Round, Task
from aasp.files import atomic_write
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig, load_classifier
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.weights import model_hash
from aasp.training import checkpoint, engine
from aasp.training.bookkeeping import Bookkeeping
from aasp.training.loop import Settings, train
from aasp.training.randomness import seed
from aasp.training.run import check_run, open_run
from aasp.training.schedules import constant, cosine_schedules

PREDICTIONS = "predictions.npz"


@dataclass(frozen=True)
class Finetuning:
    """What is asked: everything that makes a fine-tuning what it is.

    Attributes:
        encoder: what is fine-tuned, or, from scratch, its pattern.
        model: where it came from.
        labelled: the data.
        recipe: how.
        scratch: begin with random weights of the same architecture.
    """

    encoder: AudioEncoder
    model: str
    labelled: LabelledSet
    recipe: FinetuneRecipe
    scratch: bool = False

    def __post_init__(self) -> None:
        recipe, front = self.recipe, self.encoder.config.frontend
        if self.labelled.multilabel and recipe.loss == "softmax":
            told = f"{self.labelled.source}: several labels a clip, and recipe {recipe.name} has loss softmax"
            raise AaspError(f"{told}; add --set loss=sigmoid, or keep one label a clip")
        if recipe.crop_seconds * 1000 < front.window_ms:
            window = f"shorter than one analysis window of {front.window_ms:g} ms"
            raise AaspError(f"fine-tuning: crop_seconds is {recipe.crop_seconds:g}, {window}; give a longer crop")

    def classifier_config(self) -> AudioClassifierConfig:
        """The classifier to be: the encoder with the recipe's pooling and drop path, its window grown to the crop."""
        recipe, config = self.recipe, self.encoder.config
        encoder = replace(
            config,
            encoder=replace(config.encoder, drop_path=0.0 if recipe.train == "head" else recipe.drop_path),
            pooling=recipe.pooling,
            window_seconds=max(config.window_seconds, recipe.crop_seconds),
        )
        labelled = self.labelled
        return AudioClassifierConfig(
            tuple(labelled.classes), labelled.multilabel, recipe.crop_seconds, recipe.layers, recipe.norm, encoder
        )

    @cached_property
    def labels_hash(self) -> str:
        """Hash of every clip's labels and part, and of the classes, 16 hexadecimal digits."""
        data = self.labelled
        marks = [list(data.classes), [list(labels) for labels in data.labels], list(data.parts)]
        return sha256(json.dumps(marks).encode()).hexdigest()[:16]

    def document(self, round_: Round) -> dict[str, Any]:
        """One round's `recipe.json`: what a directory must hold to go on with this."""
        return {
            **to_dict(self.recipe),
            "finetuned": {
                "model": self.model,
                "model_hash": model_hash(self.encoder),
                "scratch": self.scratch,
                "data": self.labelled.name,
                "source": self.labelled.source,
                "round": round_.name,
                "classes": len(self.labelled.classes),
                "labels_hash": self.labels_hash,
                "clips": {"train": len(round_.train), "valid": len(round_.valid), "test": len(round_.test)},
            },
        }


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        exit_code: 0 done; 75 or 130: a signal asked to stop, and the same call goes on.
        labelled: the data without what could not be opened; its `missing` names that, and clips that are there but
            could not be decoded.
        task: what was asked of it.
        result: the predictions of the test parts; None where it was stopped, and in all processes but the first.
        folders: the directory of each round.
    """

    exit_code: int
    labelled: LabelledSet
    task: Task
    result: ProbeResult | None
    folders: list[Path]


def finetune(
    asked: Finetuning,
    out: str | Path,
    *,
    resume: str = "auto",
    workers: int = 2,
    precision: engine.Precision = "auto",
    log_every: int = 50,
) -> Outcome:
    """Fine-tune, round by round; the best on the valid part is scored on the test part, whole clips.

    Args:
        asked: model, data, recipe.
        out: the directory: new, empty, or holding this very fine-tuning. A single round's classifier is in `model/`,
            the folds' are in `fold-<name>/model/`.
        resume: ``auto`` goes on with what `out` holds, ``never`` wants a new directory.
        workers: threads that decode audio.
        precision: of the forward pass in training; scores are computed in fp32.
        log_every: steps between log lines.

    Raises:
        AaspError: bad data or settings, or `out` holds something else; training broke down (`TrainingStopped`).
        OSError: the disk is full; the last checkpoint is kept.
    """
    machine = engine.accelerator()
    labelled, seconds = measured(asked.labelled)
    asked = replace(asked, labelled=labelled)
    task = Task.of(labelled, choose="held_out", seed=asked.recipe.seed)
    folders = _folders(Path(out), task)
    for folder, round_ in zip(folders, task.rounds, strict=True):
        check_run(folder, asked.document(round_), resume)
    settings = Settings(
        name=asked.recipe.name,
        clip=asked.recipe.optimizer.clip,
        betas=asked.recipe.optimizer.betas,
        log_every=log_every,
        checkpoint_every=asked.recipe.validate_every,
        keep=1,
        precision=engine.settle(precision, machine.device),
    )
    for folder, round_ in zip(folders, task.rounds, strict=True):
        exit_code = _train_round(asked, task, round_, seconds, folder, settings, machine, resume, workers)
        if exit_code:
            return Outcome(exit_code, labelled, task, None, folders)
    machine.wait_for_everyone()
    if not machine.is_main_process:
        return Outcome(0, labelled, task, None, folders)
    result, undecoded = _gathered(task, folders)
    missing = [*labelled.missing, *undecoded]
    return Outcome(0, replace(labelled, missing=missing), task, result, folders)


def _folders(out: Path, task: Task) -> list[Path]:
    """The directory of each round: the run itself where there is one only."""
    return [out] if len(task.rounds) == 1 else [out / f"fold-{round_.name}" for round_ in task.rounds]


def _train_round(
    asked: Finetuning,
    task: Task,
    round_: Round,
    seconds: np.ndarray,
    folder: Path,
    settings: Settings,
    machine: Accelerator,
    resume: str,
    workers: int,
) -> int:
    """Train and score one round, unless that is done; the exit code that a signal asked for, or 0."""
    recipe, labelled, predictions = asked.recipe, asked.labelled, folder / PREDICTIONS
    if predictions.exists():
        return 0
    pipeline = train_pipeline(
        recipe, labelled, seconds, task, round_,
        rate=asked.encoder.config.frontend.rate, workers=workers, machine=machine,
    )  # fmt: skip
    seed(recipe.seed)
    config = asked.classifier_config()
    classifier = AudioClassifier(config)
    if not asked.scratch:
        classifier.encoder.load_state_dict(asked.encoder.state_dict())
    weight = class_weights(task.y[round_.train], len(task.classes)) if recipe.class_weights else None
    objective = FinetuneObjective(classifier, recipe, weight)
    seed(recipe.seed + machine.process_index)  # each process augments in its own way
    sounds = lambda rows: [labelled.sounds[row] for row in rows]
    document = asked.document(round_)
    with open_run(folder, document, machine, resume=resume) as (run, start):
        name = f"{recipe.name}, part {round_.name}"
        unusable: list[Skipped] = []  # clips that are there and can't be decoded, found when they are scored
        record = Bookkeeping(name, recipe.steps, run, machine, pipeline, unusable)
        said = f"{len(round_.train):,} clips of {len(task.classes)} classes, {len(round_.valid):,} to choose on"
        record.begin(said, document["finetuned"], start, settings.precision)
        with torch.random.fork_rng():
            scored = AudioClassifier(config).to(machine.device)
        prefix = "average." if recipe.ema else "model."
        validation = Validation(run, scored, sounds(round_.valid), task.y[round_.valid], prefix, unusable)

        def score(step: int, tensors: Mapping[str, Tensor]) -> None:
            # Not what a signal made it save: an interrupted run chooses among the same checkpoints as any other.
            if machine.is_main_process and (step % recipe.validate_every == 0 or step == recipe.steps):
                validation(step, tensors)

        def on_checkpoint(step: int, tensors: Mapping[str, Tensor]) -> None:
            score(step, tensors)
            record.write_skipped()

        if start is not None:  # in case a crash came between a checkpoint and its score
            saved = checkpoint.load(start)
            score(saved.step, saved.model)
        result = train(
            objective,
            pipeline,
            run=run,
            schedules=cosine_schedules(recipe.optimizer, recipe.steps, lambda steps: constant(recipe.ema, steps)),
            machine=machine,
            fingerprint=recipe.fingerprint,
            settings=settings,
            measure=lambda batch: (
                len(batch["length"]),
                float(batch["length"].sum()) / asked.encoder.config.frontend.rate,
            ),
            start=start,
            rate_of=objective.learning_rate_share,
            on_checkpoint=on_checkpoint,
        )
        record.end(result, "")
        if result.exit_code == 0:
            if machine.is_main_process:
                best = load_classifier(run.model, machine.device)
                found = class_probabilities(best, sounds(round_.test), skipped=unusable)
            skipped = np.array(record.write_skipped(), dtype=str).reshape(-1, 2)
            if machine.is_main_process:
                with atomic_write(predictions) as beside:
                    np.savez(beside, rows=round_.test, probabilities=found, skipped=skipped)
    return result.exit_code


def _gathered(task: Task, folders: list[Path]) -> tuple[ProbeResult, list[Skipped]]:
    """The rounds' predictions as one result, in the order of the set, and the clips that could not be decoded."""
    rows, probabilities, rounds = [], [], []
    skipped: set[Skipped] = set()
    for number, folder in enumerate(folders):
        with np.load(folder / PREDICTIONS, allow_pickle=False) as file:
            usable = np.isfinite(file["probabilities"]).all(axis=1)
            rows.append(file["rows"][usable])
            probabilities.append(file["probabilities"][usable])
            rounds.append(np.full(usable.sum(), number))
            skipped.update(Skipped(path, reason) for path, reason in file["skipped"].tolist())
    test = np.concatenate(rows)
    order = np.argsort(test)
    groups = None if task.groups is None else task.groups[test[order]]
    result = ProbeResult(
        test=test[order],
        truth=task.y[test[order]],
        probabilities=np.concatenate(probabilities)[order].astype(np.float64),
        rounds=np.concatenate(rounds)[order],
        groups=groups,
        chosen=[None] * len(folders),  # type: ignore[list-item]
    )
    return result, sorted(skipped)
