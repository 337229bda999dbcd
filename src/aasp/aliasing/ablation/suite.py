"""A suite: cells that each differ from another in one thing, so that a difference has one cause. Source: ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aasp.config import with_fields
from aasp.parts import look_up
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe


@dataclass(frozen=True)
class Cell:
    """One variant of a recipe.

    Attributes:
        name: of the cell; the same name is the same variant in every suite.
        asks: what its difference from `against` answers.
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
    """Cells, the first of which is the whole system.

    Attributes:
        name: as the command line has it.
        summary: one line for people.
        cells: each after the one that it is compared with.
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
