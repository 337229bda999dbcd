"""Fine-tuning with a few labels per class, without a run folder: only the test predictions are kept.

The step, the recipe and the classifier are those of every fine-tuning; there is no valid part and no model selection:
the last weights are used. It serves to compare a pre-trained encoder with the same network from scratch, on the same
draws of labels.

n clips of the set, K classes, D' pooled width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from aasp.datasets.pipeline import CropPipeline
from aasp.errors import AaspError
from aasp.evaluate.finetune.data import Finetuning, TrainPart
from aasp.evaluate.finetune.objective import FinetuneObjective, begin_with, first_head
from aasp.evaluate.finetune.predict import class_probabilities
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.finetune.recipes import lp_ft
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Round, Task
from aasp.evaluate.whitening import plain_weights
from aasp.model.audio_classifier import AudioClassifier
from aasp.training.optim import adamw, set_step
from aasp.training.randomness import seed
from aasp.training.schedules import cosine_schedules

SHORT = 2.0
"""Seconds: clips with a shorter median duration are trained without patchout. Half of two or three patches is one, and
the head's input includes a deviation over patches, which one patch does not have."""


def cut(seconds: np.ndarray, steps: int, batch: int, crop_seconds: float) -> FinetuneRecipe:
    """`lp_ft` with fewer steps, batches of `batch` crops, and crops no longer than nine in ten of these clips."""
    recipe = lp_ft()
    patchout = recipe.augment.patchout if np.median(seconds) >= SHORT else 0.0
    return replace(
        recipe,
        name="lp_ft, cut",
        steps=steps,
        batch=batch,
        crop_seconds=min(crop_seconds, float(np.quantile(seconds, 0.9))),
        augment=replace(recipe.augment, patchout=patchout),
    )


def few_label_result(
    job: Finetuning, task: Task, rounds: Sequence[Round], seconds: np.ndarray, head_X: np.ndarray
) -> ProbeResult:
    """Train and test in every round.

    Args:
        job: encoder, data and a recipe whose head starts as a probe.
        task: labels and groups.
        rounds: train and test clips (`draws.few_label_rounds`).
        seconds: duration of each clip of the set, (n,).
        head_X: the input of the classifier's head for each clip before the first step, (n, D').

    Raises:
        AaspError: several labels per clip, a sound that can't be used, or gradients that are not finite.
    """
    if task.multilabel:
        raise AaspError(
            f"{job.labelled.source}: several labels per clip; few labels per class can only be drawn from single labels"
        )
    test = np.sort(np.concatenate([r.test for r in rounds]))
    probabilities, number = np.zeros((len(test), len(task.classes))), np.zeros(len(test), dtype=int)
    for i, r in enumerate(rounds):
        at = np.searchsorted(test, r.test)
        classifier = _trained(job, task, r, seconds, head_X)
        probabilities[at] = class_probabilities(classifier, [job.labelled.sounds[row] for row in r.test])
        number[at] = i
    groups = None if task.groups is None else task.groups[test]
    chosen: list = [None] * len(rounds)
    return ProbeResult(test, task.y[test], probabilities, number, groups, chosen)


def _trained(job: Finetuning, task: Task, r: Round, seconds: np.ndarray, head_X: np.ndarray) -> AudioClassifier:
    recipe, front = job.recipe, job.encoder.config.frontend
    seed(recipe.seed)
    classifier = AudioClassifier(job.classifier_config())
    classifier.encoder.load_state_dict(plain_weights(job.encoder))
    y, identity = task.y[r.train], np.eye(len(task.classes), dtype=np.float32)
    begin_with(classifier, first_head(head_X[r.train], y, len(task.classes), recipe.loss))
    crops = CropPipeline(
        TrainPart(job.labelled, seconds, r.train),
        seconds=recipe.crop_seconds,
        batch=recipe.batch,
        seed=recipe.seed,
        rate=front.rate,
        workers=0,
        cache=True,
        target=lambda row: identity[y[row]],
        shortest=front.shortest_ms / 1000,
    )
    objective = FinetuneObjective(classifier, recipe).train()
    optimizer = adamw(objective, betas=recipe.optimizer.betas, rate_of=objective.learning_rate_share)
    schedules = cosine_schedules(recipe.optimizer, recipe.steps, {})
    for it in range(recipe.steps):
        now = schedules.at(it)
        set_step(optimizer, now["learning_rate"], now["weight_decay"])
        objective(next(crops), diagnose=False)["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(objective.parameters(), recipe.optimizer.clip)
        if not torch.isfinite(norm):
            raise AaspError(f"{job.model}: fine-tuning, step {it + 1}: no finite gradient; check the model's weights")
        optimizer.step()
        optimizer.zero_grad()
    return classifier.eval()
