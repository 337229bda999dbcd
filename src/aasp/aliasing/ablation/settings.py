"""Settings that are determined once in an ablation and stored in its folder, for all processes. Source: ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aasp.aliasing.ablation.suite import RECIPE, Suite, steps_within
from aasp.compare.folder import REMEDY, Folder
from aasp.compare.inputs import Inputs
from aasp.compare.layout import identity
from aasp.compare.shared_settings import TrainingOptions
from aasp.documents import as_written
from aasp.errors import AaspError


@dataclass(frozen=True)
class Length:
    """How long each training is, as the command line says it; with neither, as in the folder.

    Attributes:
        steps: optimizer steps.
        budget: minutes for all trainings together.
    """

    steps: int | None = None
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.budget is not None:
            raise AaspError(f"both --steps {self.steps} and --budget {self.budget:g}; give one of them")
        for name, value in (("steps", self.steps), ("budget", self.budget)):
            if value is not None and not 0 < value < math.inf:
                raise AaspError(f"--{name} is {value:g}; give a positive number")


def resolve(
    folder: Folder,
    suite: Suite,
    seeds: int,
    length: Length,
    options: TrainingOptions,
    inputs: Inputs,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """The common settings of all cells: as stored in the folder, else determined now and stored.

    Args:
        folder: of the ablation; cells and sets may be added to it.
        suite: the cells.
        seeds: trainings of each.
        length: of each training.
        options: precision, threads and device.
        inputs: data and sets.
        say: called with lines about the number of steps.

    Raises:
        AaspError: the folder contains another ablation, an input or a cell has changed, or the budget is less than a
            step of each cell.
    """
    folder.check(own := {"recipe": RECIPE, "data": inputs.data.word})
    with folder.setup_lock():
        known = folder.settings
        before = {name: value for name, value in folder.recorded.items() if name in ("precision", "threads")} | known
        resolved = options.resolved(before)
        budget = known.get("budget") if known else length.budget
        steps = length.steps or known.get("steps")
        if length.budget is not None and known.get("steps") is not None:
            _check_budget(folder, known, length.budget)
            say(f"{steps} steps each, as in {folder.path}")
        elif steps is None:
            if length.budget is None:
                raise AaspError("how long to train? give --steps N or --budget MINUTES")
            steps = steps_within(suite, length.budget, seeds, resolved["precision"], options.device)
            say(f"{steps} steps each")
        folder.check({**own, "steps": steps})
        folder.check({name: value for name, value in resolved.items() if name in before}, before)
        joined = inputs.joined(folder)
        with as_written(folder.path / "settings.json", REMEDY):
            cells: dict[str, str] = dict(known.get("cells", {}))
        for cell in suite:
            if cells.setdefault(cell.name, made := identity(cell.recipe(1, 0))) != made:
                text = f"{folder.path} has a cell {cell.name} with other fields, as another version of aasp has"
                raise AaspError(f"output holds another ablation: {text}; choose another --out, or that version")
        settings = {**own, "steps": steps, "budget": budget, **resolved, **joined, "cells": cells}
        if known and "budget" not in known:
            del settings["budget"]  # an earlier version did not store it
        folder.write_settings(settings)
    return settings


def _check_budget(folder: Folder, known: dict[str, Any], budget: float) -> None:
    """Check that a budget agrees with the one that the steps were derived from, if that is known.

    Raises:
        AaspError: it does not.
    """
    if known.get("budget", budget) == budget:
        return
    text = f"{folder.path} has {known['steps']} steps each, of --{_source(known)}"
    raise AaspError(f"--budget {budget:g}: {text}; leave --budget out to continue it, or choose another --out")


def _source(known: dict[str, Any]) -> str:
    return f"steps {known['steps']}" if known["budget"] is None else f"budget {known['budget']:g}"
