"""Train and measure what is lacking of a suite; what is finished is never done twice.

Seeds come first: whenever it stops, all cells have about as many. Several processes may work at one folder, each at
cells that no other is at. Source: ours.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from aasp.aliasing.ablation.folder import Folder, Trained
from aasp.aliasing.ablation.measures import Listener, Measure
from aasp.aliasing.ablation.suite import Suite
from aasp.model.audio_encoder import load
from aasp.pretrain.objective import build_objective
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.run import pretrain
from aasp.training.optim import build
from aasp.training.precision import Precision

TIMED_STEPS = 3

Say = Callable[[str], object]


@dataclass(frozen=True)
class Outcome:
    """How a call of `ablate` ended.

    Attributes:
        busy: cells that other processes are at, "NAME, seed S".
        exit_code: 0, or what the training returned when a signal stopped it.
    """

    busy: Sequence[str]
    exit_code: int = 0


def ablate(
    suite: Suite,
    folder: Folder,
    data: str | Path,
    *,
    steps: int,
    seeds: int,
    measures: Sequence[Measure],
    workers: int = 1,
    precision: Precision = "auto",
    device: str = "auto",
    say: Say = print,
) -> Outcome:
    """Train every cell with every seed, and measure each.

    Args:
        suite: the cells.
        folder: where it all lies.
        data: what all pre-train on.
        steps: optimizer steps of each.
        seeds: how many, from 0.
        measures: what to measure.
        workers: threads that decode audio.
        precision: of the forward pass.
        device: where, as `aasp.devices` names them.
        say: told where it stands.

    Raises:
        AaspError: bad data, or a cell broke down in training.
    """
    busy: dict[str, Trained] = {}
    # Whoever was at a cell may have done with it since.
    told = lambda: [place for place, trained in busy.items() if not _done(trained, measures)]
    for seed in range(seeds):
        for number, cell in enumerate(suite, start=1):
            trained, place = folder.trained(cell.name, seed), f"{cell.name}, seed {seed}"
            if _done(trained, measures):
                continue
            with trained.taken() as ours:
                if not ours:
                    busy[place] = trained
                    continue
                if not trained.finished:
                    say(f"training {place} (cell {number} of {len(suite.cells)}, seed {seed + 1} of {seeds})")
                    code = _train(suite.recipe_of(cell, steps, seed), data, trained, workers, precision, device)
                    if code:
                        return Outcome(told(), code)
                listener = Listener(load(trained.path, device))
                for measure in measures:
                    if trained.scores(measure.name) is not None:
                        continue
                    say(f"measuring {place}: {measure.name}")
                    trained.keep(measure.name, measure(listener))
    return Outcome(told())


def steps_within(suite: Suite, minutes: float, seeds: int, say: Say = print) -> int:
    """The equal number of steps at which all cells and seeds together train for so many minutes on this machine.

    Each cell is timed for a few steps on noise; decoding and measuring come on top.
    """
    seconds = 0.0
    for cell in suite:
        one = _seconds_per_step(suite.recipe_of(cell, 10, 0))
        say(f"timing {cell.name}: {one:.2f} s a step")
        seconds += one
    return max(1, int(60 * minutes / (seeds * seconds)))


def _done(trained: Trained, measures: Sequence[Measure]) -> bool:
    return trained.finished and all(trained.scores(measure.name) is not None for measure in measures)


def _train(recipe: Recipe, data: str | Path, trained: Trained, workers: int, precision: Precision, device: str) -> int:
    began = time.monotonic()
    result = pretrain(
        recipe,
        data,
        trained.path,
        workers=workers,
        precision=precision,
        device=device,
        log_every=max(1, recipe.steps // 20),
        checkpoint_every=max(1, recipe.steps // 4),
    )
    if not result.exit_code:
        shutil.rmtree(trained.path / "checkpoints", ignore_errors=True)  # the model stays, and the record
        trained.finish({"steps": result.step, "seconds of the last call": round(time.monotonic() - began, 1)})
    return result.exit_code


def _seconds_per_step(recipe: Recipe) -> float:
    """Of the fastest of a few."""
    objective = build_objective(recipe).train()
    optimizer = build(objective, recipe.optimizer)
    samples = round(recipe.data.crop_seconds * recipe.model.frontend.rate)
    clips = recipe.data.batch
    batch = {"wave": 0.1 * torch.randn(clips, samples), "length": torch.full((clips,), samples)}
    took = []
    for _ in range(TIMED_STEPS):
        began = time.monotonic()
        optimizer.zero_grad()
        objective(batch, False)["loss"].backward()
        optimizer.step()
        took.append(time.monotonic() - began)
    return min(took)
