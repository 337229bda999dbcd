"""A recipe's architecture trained with labels from random weights: the baseline for pre-training.

There is one training for each set, or one for each fold, and each has the whole budget. It is `aasp finetune --scratch`
with the default recipe for the set and the width, with two changes: all layers have the same learning rate (layer-wise
decay preserves what lower layers have learned before, which is nothing here), and a crop is no longer than the longest
clip. Source: ours.
"""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from aasp.audio.sounds import Sound
from aasp.compare.folder import file_name
from aasp.config import fingerprint, to_dict
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.finetune.data import Finetuning, suited
from aasp.evaluate.finetune.objective import FinetuneObjective
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.finetune.results import gathered
from aasp.evaluate.finetune.run import finetune, round_folders
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Task
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder
from aasp.planning.step import StepCost, objective_cost
from aasp.pretrain.recipe import Recipe
from aasp.training.precision import Precision


@dataclass(frozen=True)
class LabelledTask:
    """The facts of a set that are known before training.

    Attributes:
        set: its name in the comparison.
        benchmark: its name in the registry of benchmarks, or another name from its reader.
        classes: number of classes.
        rounds: folds, or 1.
        longest: seconds of the longest clip.
        seconds: of all clips.
    """

    set: str
    benchmark: str
    classes: int
    rounds: int
    longest: float
    seconds: float


@dataclass(frozen=True)
class Supervised:
    """A recipe's architecture on one set.

    Attributes:
        recipe: its architecture is used, and nothing else.
        task: the set.
    """

    recipe: Recipe
    task: LabelledTask

    @property
    def identity(self) -> str:
        """Hash of the architecture, the set and the fine-tuning recipe, without steps and seed."""
        job = {"classes": self.task.classes, "rounds": self.task.rounds}
        return fingerprint({"model": to_dict(self.recipe.model), "how": to_dict(self.how()), **job})

    def how(self, steps: int = 1, seed: int = 0) -> FinetuneRecipe:
        """The fine-tuning recipe."""
        found = suited(self.task.benchmark, self.recipe.model.encoder.width, multilabel=False)
        crop = min(found.crop_seconds, self.task.longest)
        return replace(found, crop_seconds=crop, layer_decay=1.0, steps=steps, seed=seed)

    def finetuning(self, labelled: LabelledSet, steps: int, seed: int) -> Finetuning:
        """The arguments of `finetune`."""
        with torch.random.fork_rng(devices=[]):  # only the architecture is used, not the weights
            encoder = AudioEncoder(self.recipe.model)
        return Finetuning(encoder, self.recipe.name, labelled, self.how(steps, seed), scratch=True)

    def batch(self, device: str) -> dict[str, Tensor]:
        """A batch of noise in the format of training batches."""
        how, task = self.how(), self.task
        samples = round(how.crop_seconds * self.recipe.model.frontend.rate)
        wave = torch.empty(how.batch, samples, device=device)
        if device != "meta":
            wave = 0.1 * torch.randn_like(wave)
        target = torch.zeros(how.batch, task.classes, device=device)
        return {"wave": wave, "length": torch.full((how.batch,), samples), "target": target}

    def objective(self) -> FinetuneObjective:
        """The classifier and its loss, with random weights."""
        return FinetuneObjective(AudioClassifier(self._config), self.how())

    def step_cost(self) -> StepCost:
        """FLOPs and memory of a step, counted as `aasp plan` does for pre-training."""
        config, how = self._config, self.how()
        return objective_cost(lambda gather: FinetuneObjective(AudioClassifier(config), how), self.batch("meta"))

    @cached_property
    def _config(self) -> AudioClassifierConfig:
        classes = [str(number) for number in range(self.task.classes)]
        pattern = LabelledSet(self.task.benchmark, self.task.set, (), (), (), classes)
        return self.finetuning(pattern, 1, 0).classifier_config()


def system_name(recipe: str) -> str:
    """The name in tables for the trainings of a recipe's architecture on all sets."""
    return f"scratch-{recipe}"


def cell_name(system: str, set: str) -> str:
    """The cell of a system's trainings on one set; also the folder of its seeds."""
    return f"{system}/{file_name(set)}"


def runs_in(cell: Path) -> list[Path]:
    """The run in a cell's folder, or those of its folds."""
    return sorted(cell.glob("fold-*")) or [cell]


def train(job: Finetuning, out: Path, *, workers: int, precision: Precision, device: str, log_every: int) -> int:
    """Train every round to its end, or until stopped by a signal; return the exit code. Models and records are kept.

    Raises:
        AaspError: a clip can't be decoded, which the probes of other systems also reject; or training failed.
    """
    outcome = finetune(job, out, workers=workers, precision=precision, device=device, log_every=log_every)
    if outcome.exit_code:
        return outcome.exit_code
    for bad in outcome.labelled.missing[len(job.labelled.missing) :]:
        raise AaspError(f"{job.labelled.source}: can't use {bad.path}: {bad.reason}; replace it, or leave it out")
    for folder in outcome.folders:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return 0


class SupervisedReader:
    """The predictions of a classifier for a comparison; they are the same for every reading.

    Args:
        run: the folder of its training.
    """

    def __init__(self, run: Path) -> None:
        self._run = run

    def read(self, way: Hashable, sounds: Sequence[Sound], task: Task) -> ProbeResult:
        """Its predictions for the scored clips."""
        result, _ = gathered(task, round_folders(self._run, task))
        return replace(result, chosen=[])
