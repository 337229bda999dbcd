"""One round of a fine-tuning: trained on its train part, chosen on its valid part, scored once on its test part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from aasp.datasets.index import Skipped
from aasp.evaluate.finetune.data import class_weights, train_pipeline
from aasp.evaluate.finetune.head_start import fit_head
from aasp.evaluate.finetune.objective import FinetuneObjective
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.finetune.request import Finetuning
from aasp.evaluate.finetune.validation import Validation
from aasp.evaluate.task import Round, Task
from aasp.files import atomic_write
from aasp.model.audio_classifier import AudioClassifier, load_classifier
from aasp.training import checkpoint
from aasp.training.bookkeeping import Bookkeeping
from aasp.training.loop import Settings, train
from aasp.training.randomness import seed
from aasp.training.run import open_run
from aasp.training.schedules import constant, cosine_schedules

PREDICTIONS = "predictions.npz"


def train_round(
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
    """Train and score one round, unless that is done.

    Args:
        asked: model, data, recipe.
        task: of the whole set.
        round_: which of its rounds.
        seconds: duration of each clip of the set, (n,).
        folder: the round's directory, of its own.
        settings: of the loop.
        machine: processes and devices; the first process scores and writes.
        resume, workers: as in `finetune`.

    Returns:
        The exit code that a signal asked for, or 0; `folder` then holds `predictions.npz`: "rows" of the set,
        "probabilities" (rows, K), NaN for those that could not be decoded, and these as "skipped", (path, reason).
    """
    recipe, labelled, predictions = asked.recipe, asked.labelled, folder / PREDICTIONS
    if predictions.exists():
        return 0
    rate = asked.encoder.config.frontend.rate
    pipeline = train_pipeline(recipe, labelled, seconds, task, round_, rate=rate, workers=workers, machine=machine)
    seed(recipe.seed)
    config = asked.classifier_config()
    classifier = AudioClassifier(config)
    if not asked.scratch:
        classifier.encoder.load_state_dict(asked.encoder.state_dict())
    weight = class_weights(task.y[round_.train], len(task.classes)) if recipe.class_weights else None
    seed(recipe.seed + machine.process_index)  # each process augments in its own way
    sounds = lambda rows: [labelled.sounds[row] for row in rows]
    document = asked.document(round_)
    with open_run(folder, document, machine, resume=resume) as (run, start):
        name = f"{recipe.name}, part {round_.name}"
        unusable: list[Skipped] = []  # clips that are there and can't be decoded, found when they are scored
        record = Bookkeeping(name, recipe.steps, run, machine, pipeline, unusable)
        said = f"{len(round_.train):,} clips of {len(task.classes)} classes, {len(round_.valid):,} to choose on"
        record.begin(said, document["finetuned"], start, settings.precision)
        if recipe.head == "probe" and start is None:
            fit_head(classifier.to(machine.device), sounds(round_.train), task.y[round_.train], recipe.loss)
        objective = FinetuneObjective(classifier, recipe, weight)
        with torch.random.fork_rng():
            scored = AudioClassifier(config).to(machine.device)
        validation = Validation(run, scored, sounds(round_.valid), task.y[round_.valid], objective.exported, unusable)

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
            schedules=cosine_schedules(
                recipe.optimizer, recipe.steps, {"momentum": constant(recipe.ema, recipe.steps)}
            ),
            machine=machine,
            fingerprint=recipe.fingerprint,
            settings=settings,
            measure=lambda batch: (len(batch["length"]), float(batch["length"].sum()) / rate),
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
