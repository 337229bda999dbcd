"""Suites of cells that each differ from another cell in one thing, so that a difference has one cause.

They are trained by `aasp.compare` with equal numbers of steps for all cells. Seeds are the outer loop: whenever
training stops, all cells have about the same number. Source: ours.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from aasp.compare.budget import seconds_per_step
from aasp.compare.cells import Cell as SeededCell
from aasp.compare.measures import Measure
from aasp.config import with_fields
from aasp.errors import AaspError
from aasp.parts import look_up
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe
from aasp.training.precision import Precision

RECIPE = "aasp_tiny"
"""The recipe that all cells modify."""


@dataclass(frozen=True)
class Cell:
    """One variant of the recipe.

    Attributes:
        name: the cell's name; the same name is the same variant in every suite.
        asks: the question that its difference from `against` answers.
        changes: recipe fields and their values, as for `--set`, relative to the recipe.
        against: the cell that it differs from in one thing; None for the first.
    """

    name: str
    asks: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None

    def recipe(self, steps: int, seed: int) -> Recipe:
        """The cell's recipe."""
        return with_fields(recipes.get(RECIPE), {**self.changes, "steps": str(steps), "seed": str(seed)})


@dataclass(frozen=True)
class Suite:
    """Cells, the first of which is the whole system; each follows the one it is compared with.

    Attributes:
        name: its name on the command line.
        summary: a one-line description.
        cells: the cells.
    """

    name: str
    summary: str
    cells: tuple[Cell, ...]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def only(self, names: tuple[str, ...]) -> Suite:
        """The suite with only the named cells, in its own order; all if none are named.

        Raises:
            AaspError: there is no cell of that name.
        """
        known = {cell.name: cell for cell in self.cells}
        wanted = [look_up(name, known, f"cell of suite {self.name}").name for name in names] or list(known)
        return replace(self, cells=tuple(cell for cell in self.cells if cell.name in wanted))

    def trainings(self, steps: int, seeds: int, measures: Sequence[Measure]) -> list[SeededCell]:
        """Every cell with every seed from 0, for the given number of optimizer steps, with its measures."""
        return [
            SeededCell(cell.name, seed, measures, cell.recipe(steps, seed)) for seed in range(seeds) for cell in self
        ]


def _read() -> dict[str, Suite]:
    """The suites in `suites.toml`: cells, their questions and changes."""
    given = tomllib.loads(files("aasp.aliasing.ablation").joinpath("suites.toml").read_text(encoding="utf-8"))
    known: dict[str, Cell] = {}
    for name, one in given["cells"].items():
        start = known.get(one.get("from", one.get("against")))
        changes = {**(start.changes if start else {}), **one.get("set", {})}
        known[name] = Cell(name, one["asks"], changes, one.get("against"))
    return {
        name: Suite(name, one["summary"], tuple(known[cell] for cell in one["cells"]))
        for name, one in given["suites"].items()
    }


SUITES = _read()


def steps_within(suite: Suite, minutes: float, seeds: int, precision: Precision, device: str) -> int:
    """The number of steps at which all cells and seeds train for the given minutes in total on this machine.

    Each cell is timed for a few steps on noise; decoding and measuring are not included.

    Raises:
        AaspError: the minutes are less than a step of each.
    """
    seconds = 0.0
    for cell in suite:
        one = seconds_per_step(cell.recipe(10, 0), precision, device)
        print(f"timing {cell.name}: {one:.2f} s a step")
        seconds += one
    steps = int(60 * minutes / (seeds * seconds))
    if steps < 1:
        least = f"a step of each of {len(suite.cells)} cells × {seeds} seeds takes {seeds * seconds / 60:.2g} minutes"
        raise AaspError(f"--budget {minutes:g}: {least}; give more")
    return steps
