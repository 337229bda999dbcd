"""The trainings and measures of a comparison: its recipes with the steps of the budget, and the baselines.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aasp.compare.budget import Costs, Trainable, embedding_speed
from aasp.compare.cells import TRAINED, Cell
from aasp.compare.measures import Measure
from aasp.compare.readings import BANDS, Reading
from aasp.compare.supervised import LabelledTask, Supervised, cell_name, system_name
from aasp.compare.training import stages
from aasp.config import fingerprint, with_fields
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.planning.trace import on_meta
from aasp.pretrain import recipes
from aasp.pretrain.recipe import Recipe


def named_recipes(words: Sequence[str], settings: Mapping[str, str]) -> dict[str, Recipe]:
    """Recipes by their short names: for `file.py:name`, the part after the colon.

    Args:
        words: as typed.
        settings: fields to change in all of them.

    Raises:
        AaspError: no such recipe or field, or two recipes of one name.
    """
    found: dict[str, tuple[str, Recipe]] = {}
    for word in words:
        name = word.rpartition(":")[2]
        if name in found:
            raise AaspError(f"two recipes are called {name}: {found[name][0]} and {word}; name each once")
        found[name] = word, with_fields(recipes.get(word), settings)
    return {name: recipe for name, (_, recipe) in found.items()}


def supervised(recipes: Mapping[str, Recipe], tasks: Sequence[LabelledTask]) -> dict[str, Supervised]:
    """Supervised trainings by cell: the architecture of each recipe on each set.

    Raises:
        AaspError: two sets would share a folder.
    """
    pairs = [(name, recipe, task) for name, recipe in recipes.items() for task in tasks]
    found = {cell_name(system_name(name), task.set): Supervised(recipe, task) for name, recipe, task in pairs}
    if len(found) < len(pairs):
        text = f"two of the sets {', '.join(task.set for task in tasks)} would share a folder"
        raise AaspError(f"--scratch: {text}; rename the folder of one index")
    return found


def identity(recipe: Trainable) -> str:
    """Hash of a recipe without steps and seed, which the comparison sets."""
    if isinstance(recipe, Supervised):
        return recipe.identity
    return replace(recipe, steps=1, seed=0).fingerprint


@dataclass(frozen=True)
class Layout:
    """The plan of a comparison.

    Attributes:
        recipes: by name.
        costs: of each recipe, and of each cell of `supervised`.
        seeds: number of trainings of each.
        supervised: by cell, architectures that are trained with the labels of one set.
        frozen: names of encoders that are not trained here.
        curve: whether trainings are also measured before their end.
    """

    recipes: Mapping[str, Recipe]
    costs: Mapping[str, Costs]
    seeds: int
    supervised: Mapping[str, Supervised] = field(default_factory=dict)
    frozen: Sequence[str] = ()
    curve: bool = True

    @property
    def untrained(self) -> dict[str, str]:
        """For each recipe, the cell with the untrained encoder of its architecture; recipes may share one."""
        first: dict[str, str] = {}
        return {
            name: f"untrained-{first.setdefault(fingerprint(recipe.model), name)}"
            for name, recipe in self.recipes.items()
        }

    def stages(self, name: str) -> list[int]:
        """The steps at which encoders of a recipe are kept, the last included."""
        return [*stages(self.costs[name].steps), self.costs[name].steps]

    def rounds(self, cell: Cell) -> int:
        """Number of trainings in a cell: with labels, one for each fold."""
        return self.supervised[cell.name].task.rounds if cell.kind == "scratch" else 1

    def cells(self, readings: Sequence[Reading], more: Sequence[Measure] = ()) -> list[Cell]:
        """All cells, seed by seed, so that after a stop all recipes have about the same number.

        Args:
            readings: measures of all cells.
            more: additional measures of encoders.
        """
        every = [*readings, *more]
        given = [
            *(Cell(name, 0, readings, None, "log-mel") for name in BANDS),
            *(Cell(name, 0, every, None, "frozen") for name in self.frozen),
        ]
        return [*given, *self._trained(readings, every)]

    def _trained(self, readings: Sequence[Reading], measures: Sequence[Measure]) -> Iterator[Cell]:
        pattern: dict[str, str] = {}
        for name, cell in self.untrained.items():
            pattern.setdefault(cell, name)
        for seed in range(self.seeds):
            for cell, name in pattern.items():
                yield Cell(cell, seed, measures, self.recipes[name], "untrained")
            for name, recipe in self.recipes.items():
                requested = replace(recipe, steps=self.costs[name].steps, seed=seed)
                yield Cell(name, seed, measures, requested, "trained", tuple(self.stages(name)[:-1]), self.curve)
            for name, one in self.supervised.items():
                own = [reading for reading in readings if reading.set == one.task.set]
                yield Cell(name, seed, own, replace(one.recipe, steps=self.costs[name].steps, seed=seed), "scratch")


@dataclass(frozen=True)
class Estimate:
    """Time of some cells in one process, in seconds of training steps and of embedding, and bytes on disk."""

    training: float
    embedding: float
    bytes: float


def estimate(layout: Layout, cells: Sequence[Cell], seconds: float, device: str) -> Estimate:
    """Estimate the time of the remaining cells; each architecture is timed briefly.

    Args:
        layout: of the comparison.
        cells: the remaining cells.
        seconds: of sound that each encoder embeds.
        device: where encoders run.
    """
    trained = [cell for cell in cells if cell.kind in TRAINED]
    one = lambda name: layout.costs[name].steps * layout.costs[name].seconds
    training = sum(one(cell.name) * layout.rounds(cell) for cell in trained)
    embedding, size = 0.0, 0.0
    speeds: dict[str, float] = {}
    for cell in cells:
        if cell.recipe is not None:
            shape, models = fingerprint(cell.recipe.model), 1 + len(cell.stages)
            if shape not in speeds:
                speeds[shape] = embedding_speed(cell.recipe, device)
            own = layout.supervised[cell.name].task.seconds if cell.kind == "scratch" else seconds
            embedding += (models if cell.curve else 1) * own / speeds[shape]
            size += models * layout.rounds(cell) * model_bytes(cell.recipe)
    # A cell in training has two checkpoints, and a third that is being written.
    size += 3 * max((layout.costs[cell.name].checkpoint for cell in trained), default=0)
    return Estimate(training, embedding, size)


def model_bytes(recipe: Recipe) -> int:
    """Size of a saved encoder in bytes."""
    model = on_meta(lambda: AudioEncoder(recipe.model))
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
