"""A suite: cells that each differ from another in one thing, so that a difference has one cause; and training them.

It is a case of `aasp.compare` in which all cells have as many steps. Seeds come first: whenever it stops, all cells
have about as many. Source: ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aasp.compare import cells
from aasp.compare.budget import seconds_per_step
from aasp.compare.cells import Outcome, Say, Work
from aasp.compare.folder import Folder
from aasp.compare.measures import Listener, Measure
from aasp.compare.training import Training
from aasp.config import with_fields
from aasp.model.audio_encoder import load
from aasp.parts import look_up
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class Cell:
    """One variant of a recipe.

    Attributes:
        name: of the cell; the same name is the same variant in every suite.
        asks: the question that its difference from `against` answers.
        changes: recipe fields and their values, as of `--set`, from the recipe itself.
        against: the cell that it differs from in one thing; None for the first.
    """

    name: str
    asks: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None

    def but(self, name: str, asks: str, **changes: Any) -> Cell:
        """A cell that differs from this one in one thing; dots of field names are written `__`."""
        fields = {key.replace("__", "."): value for key, value in changes.items()}
        return Cell(name, asks, {**self.changes, **fields}, self.name)


@dataclass(frozen=True)
class Suite:
    """Cells, the first of which is the whole system, each after the one that it is compared with.

    Attributes:
        name: as the command line has it.
        summary: one line for people.
        cells: the cells.
        recipe: what all of them change.
    """

    name: str
    summary: str
    cells: tuple[Cell, ...]
    recipe: str = "aasp_tiny"

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def only(self, names: tuple[str, ...]) -> Suite:
        """The suite with some of its cells, in its own order; all, if none are named.

        Raises:
            AaspError: there is no cell of that name.
        """
        known = {cell.name: cell for cell in self.cells}
        wanted = [look_up(name, known, f"cell of suite {self.name}").name for name in names] or list(known)
        return replace(self, cells=tuple(cell for cell in self.cells if cell.name in wanted))

    def recipe_of(self, cell: Cell, steps: int, seed: int) -> Recipe:
        """What a cell trains."""
        return with_fields(recipes.get(self.recipe), {**cell.changes, "steps": str(steps), "seed": str(seed)})


def ablate(
    suite: Suite,
    folder: Folder,
    *,
    steps: int,
    seeds: int,
    measures: Sequence[Measure],
    training: Training,
    work: Work = cells.work,
    say: Say = print,
) -> Outcome:
    """Train every cell for so many optimizer steps with every seed from 0, and measure each.

    Raises:
        AaspError: bad data.
    """
    trainings = [
        cells.Cell(cell.name, seed, measures, suite.recipe_of(cell, steps, seed))
        for seed in range(seeds)
        for cell in suite
    ]
    listen = lambda cell, model: Listener(load(model, training.device))
    return work(trainings, folder, train=training, listen=listen, say=say)


def steps_within(suite: Suite, minutes: float, seeds: int, training: Training, say: Say = print) -> int:
    """The equal number of steps at which all cells and seeds together train for so many minutes on this machine.

    Each cell is timed for a few steps on noise; decoding and measuring come on top.
    """
    seconds = 0.0
    for cell in suite:
        one = seconds_per_step(suite.recipe_of(cell, 10, 0), training.precision, training.device)
        say(f"timing {cell.name}: {one:.2f} s a step")
        seconds += one
    return max(1, int(60 * minutes / (seeds * seconds)))
