"""What a fine-tuning draws its batches from: the train part of one round, its labels, its sampling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from aasp.audio.io import AudioError
from aasp.audio.sounds import Sound, describe, duration
from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.datasets.pipeline import CropPipeline
from aasp.errors import AaspError
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.task import Round, Task

CACHED_HOURS = 8  # train parts up to this size are kept in memory, 230 MB an hour
WORKERS = 8


def measured(labelled: LabelledSet) -> tuple[LabelledSet, np.ndarray]:
    """The set without the clips whose files can't be opened, and the seconds of those that can, (n,)."""

    def seconds_or_reason(sound: Sound) -> float | str:
        try:
            return duration(sound)
        except AudioError as error:
            return error.reason

    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(seconds_or_reason, labelled.sounds))
    bad = {row: fact for row, fact in enumerate(found) if isinstance(fact, str)}
    missing = [Skipped(describe(labelled.sounds[row]), reason) for row, reason in bad.items()]
    if len(bad) == len(found):
        raise AaspError(f"{labelled.source}: no usable clip, the first {missing[0].path}: {missing[0].reason}")
    seconds = np.array([fact for fact in found if not isinstance(fact, str)])
    return labelled.without(list(bad), missing), seconds


class TrainPart:
    """Some clips of a labelled set, as a pipeline draws from them.

    Args:
        labelled: the set.
        seconds: duration of each of its clips, (n,).
        rows: which of them.
    """

    def __init__(self, labelled: LabelledSet, seconds: np.ndarray, rows: np.ndarray) -> None:
        self._labelled, self._rows = labelled, rows
        self.source, self.seconds = labelled.source, seconds[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def sound(self, row: int) -> Sound:
        """One clip."""
        return self._labelled.sounds[self._rows[row]]


def train_pipeline(
    recipe: FinetuneRecipe,
    labelled: LabelledSet,
    seconds: np.ndarray,
    task: Task,
    round_: Round,
    *,
    rate: int,
    workers: int,
    machine: Accelerator,
) -> CropPipeline:
    """This process's share of the batches of one round's train part."""
    world = machine.num_processes
    if recipe.batch % world:
        raise AaspError(f"batch is {recipe.batch}, for {world} processes; give a multiple of {world}")
    if recipe.batch == world and recipe.norm == "batch" and recipe.head != "probe":
        told = f"batch is {recipe.batch}, a clip for each process: norm=batch needs clips to standardise over"
        raise AaspError(f"{told}; give {2 * world} or more, or norm=layer")
    part, y = TrainPart(labelled, seconds, round_.train), task.y[round_.train]
    identity = np.eye(len(task.classes), dtype=np.float32)
    weighted = None
    if recipe.sampling == "balanced":
        weighted = clip_weights(y, len(task.classes)), min(recipe.epoch_clips or len(part), len(part))
    return CropPipeline(
        part,
        seconds=recipe.crop_seconds,
        batch=recipe.batch // world,
        seed=recipe.seed,
        rate=rate,
        workers=workers,
        shard=(machine.process_index, world),
        cache=float(part.seconds.sum()) * world <= CACHED_HOURS * 3600,
        target=(lambda row: y[row]) if task.multilabel else (lambda row: identity[y[row]]),
        weighted=weighted,
    )


def clip_weights(y: np.ndarray, classes: int) -> np.ndarray:
    """Weight of each clip: the sum over its labels of 1 / how many clips have that label; (n,).

    Source: AST (Gong et al. 2021), as Audio-MAE and EAT sample AudioSet-2M.
    """
    counts = np.maximum(_label_counts(y, classes), 1)
    weights = (y / counts).sum(1) if y.ndim == 2 else 1.0 / counts[y]
    return np.maximum(weights, 1e-3 / counts.max())  # a clip without labels is rare, not never


def class_weights(y: np.ndarray, classes: int) -> Tensor:
    """Weight of each class, (K,): the inverse of its share of the labels, 1 on average over them; 1 for absent ones."""
    counts = _label_counts(y, classes)
    present = counts > 0
    weights = np.where(present, counts.sum() / np.maximum(counts * present.sum(), 1), 1.0)
    return torch.from_numpy(weights)


def _label_counts(y: np.ndarray, classes: int) -> np.ndarray:
    return y.sum(0) if y.ndim == 2 else np.bincount(y, minlength=classes)
