"""Training of cells: by `aasp pretrain`, keeping models of some earlier steps; with labels, by `aasp finetune`.

Source: ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aasp.compare.cells import Cell
from aasp.compare.folder import Trained
from aasp.compare.readings import Reading
from aasp.compare.supervised import Supervised, train
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.run import pretrain
from aasp.training.precision import Precision

LOGGED, SAVED = 20, 4
"""Number of log lines and of checkpoints in a training."""


def stages(steps: int) -> list[int]:
    """The steps before the last at which a training is measured: at about a quarter and a half."""
    quarter = max(1, steps // SAVED)
    return [step for step in (quarter, 2 * quarter) if step < steps]


@dataclass(frozen=True)
class Training:
    """Trains cells.

    Attributes:
        data: the pre-training data.
        workers: threads that decode audio.
        precision: of the forward pass.
        device: a name as in `aasp.devices`.
    """

    data: str | Path
    workers: int = 1
    precision: Precision = "auto"
    device: str = "auto"

    def __call__(self, cell: Cell, trained: Trained) -> int:
        """Train a cell to its end, or until stopped by a signal; return the exit code. Model and records are kept.

        Raises:
            AaspError: bad data, or training failed (`TrainingStopped`).
        """
        began = time.monotonic()
        if cell.recipe is None:
            trained.finish({})
            return 0
        if cell.kind == "untrained":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(cell.seed)
                AudioEncoder(cell.recipe.model).save(trained.model)
            trained.finish({"steps": 0})
            return 0
        steps = cell.recipe.steps
        if cell.kind == "scratch":
            return self._supervised(cell, cell.recipe, trained)

        def keep(step: int, model: Path) -> None:
            if step in cell.stages:
                trained.keep_stage(step, model)

        result = pretrain(
            cell.recipe,
            self.data,
            trained.path,
            workers=self.workers,
            precision=self.precision,
            device=self.device,
            log_every=max(1, steps // LOGGED),
            checkpoint_every=max(1, steps // SAVED),
            on_model=keep,
        )
        if not result.exit_code:
            trained.finish({"steps": result.step, "seconds of the last call": round(time.monotonic() - began, 1)})
        return result.exit_code

    def _supervised(self, cell: Cell, recipe: Recipe, trained: Trained) -> int:
        """Train an architecture with the labels of the set of the cell's readings."""
        reading = cell.measures[0]
        assert isinstance(reading, Reading)
        job = Supervised(recipe, reading.known).finetuning(reading.labelled, recipe.steps, recipe.seed)
        options: dict[str, Any] = dict(workers=self.workers, precision=self.precision, device=self.device)
        code = train(job, trained.path, log_every=max(1, recipe.steps // LOGGED), **options)
        if not code:
            trained.finish({"steps": recipe.steps})
        return code
