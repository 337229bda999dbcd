"""The trainings and measures of a comparison: its recipes with the steps of the budget, and the baselines.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aasp.compare.budget import Costs, Trainable, embedding_speed
from aasp.compare.cells import TRAINED, Cell
from aasp.compare.folder import Folder
from aasp.compare.measures import Measure
from aasp.compare.readings import BANDS, Announced, Reading, Workload
from aasp.compare.supervised import LabelledTask, Supervised, cell_name, system_name
from aasp.compare.training import stages
from aasp.config import fingerprint, with_fields
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.parts import own_code
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
    """Hash of a recipe without steps and seed, which the comparison sets, and of its parts' code if it is not ours."""
    if isinstance(recipe, Supervised):
        return recipe.identity + own_code(recipe.recipe.model)
    return replace(recipe, steps=1, seed=0).fingerprint + own_code(recipe)


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

    def cells(self, readings: Sequence[Reading | Announced], more: Sequence[Measure] = ()) -> list[Cell]:
        """All cells, seed by seed, so that after a stop all recipes have about the same number.

        Args:
            readings: measures of all cells; for a plan they may be announced ones.
            more: additional measures of encoders.
        """
        probed: Any = readings
        every = [*probed, *more]
        given = [
            *(Cell(name, 0, probed, None, "log-mel") for name in BANDS),
            *(Cell(name, 0, every, None, "frozen") for name in self.frozen),
        ]
        return [*given, *self._trained(probed, every)]

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
    """What is left to do in one process.

    Attributes:
        cells, trainings: number of cells, and of those that still have to be trained.
        training, embedding: seconds of training steps and of embedding.
        bytes: on disk.
    """

    cells: int
    trainings: int
    training: float
    embedding: float
    bytes: float


def estimate(
    layout: Layout, folder: Folder, cells: Sequence[Cell], workloads: Mapping[str, Workload], device: str
) -> Estimate:
    """Estimate the time of the remaining work; each architecture is timed briefly.

    Args:
        layout: of the comparison.
        folder: what is in it is not done again.
        cells: all of them.
        workloads: by measure, what each encoder embeds for it, and its seconds.
        device: where encoders run.
    """
    left = [(cell, trained) for cell in cells if not cell.done(trained := folder.trained(cell.name, cell.seed))]
    started = [cell for cell, trained in left if not trained.finished]
    trainings = [cell for cell in started if cell.kind in TRAINED]
    one = lambda name: layout.costs[name].steps * layout.costs[name].seconds
    training = sum(one(cell.name) * layout.rounds(cell) for cell in trainings)
    size = sum(
        (1 + len(cell.stages)) * layout.rounds(cell) * model_bytes(cell.recipe) for cell in started if cell.recipe
    )
    # A cell in training has two checkpoints, and a third that is being written.
    size += 3 * max((layout.costs[cell.name].checkpoint for cell in trainings), default=0)
    embedding = 0.0
    speeds: dict[str, float] = {}
    for cell, trained in left:
        if cell.recipe is None:
            continue
        if cell.kind == "scratch":  # its test clips are scored in the training
            seconds = 0.0 if trained.finished else layout.supervised[cell.name].task.seconds
        else:
            missing = [
                [m.name for m in cell.measures if place.scores(m.name) is None] for _, place in cell.measured(trained)
            ]
            seconds = sum(sum(dict(workloads[name] for name in names).values()) for names in missing)
        shape = fingerprint(cell.recipe.model)
        if shape not in speeds:
            speeds[shape] = embedding_speed(cell.recipe, device)
        embedding += seconds / speeds[shape]
    return Estimate(len(left), len(trainings), training, embedding, size)


def model_bytes(recipe: Recipe) -> int:
    """Size of a saved encoder in bytes."""
    model = on_meta(lambda: AudioEncoder(recipe.model))
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
