"""Train and measure what cells are missing; finished and failed work is never repeated.

Cells are taken in their order. Several processes, also of several machines, may work at one folder, each at cells that
no other process is working on. A failed cell is recorded and does not stop the others. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aasp.compare.folder import Folder, Measured, Trained
from aasp.compare.measures import Measure
from aasp.errors import AaspError
from aasp.evaluate.probe import Unusable
from aasp.pretrain.recipe import Recipe
from aasp.report.learning import explained
from aasp.training.loop import TrainingStopped

Kind = Literal["trained", "scratch", "untrained", "frozen", "log-mel"]
"""A recipe's pre-training; its architecture trained with labels; its encoder untrained; an encoder that was trained
elsewhere; statistics."""
TRAINED: tuple[Kind, ...] = ("trained", "scratch")


@dataclass(frozen=True)
class Cell:
    """A training that is done once and measured.

    Attributes:
        name: of the cell; the same name with another seed is another training of the same.
        seed: of the training.
        measures: what is measured of it.
        recipe: what is trained, or whose architecture is; None where nothing of a recipe is there.
        kind: which of the five.
        stages: steps before the last at which it is measured, too.
    """

    name: str
    seed: int
    measures: Sequence[Measure]
    recipe: Recipe | None
    kind: Kind = "trained"
    stages: Sequence[int] = ()

    @property
    def place(self) -> str:
        """Its name in messages."""
        return f"{self.name}, seed {self.seed}"

    def measured(self, trained: Trained) -> Iterator[tuple[str, Measured]]:
        """The folders of its encoders, with a suffix for messages; the earliest first."""
        for step in self.stages:
            yield f" at step {step:,}", trained.stage(step)
        yield "", trained

    def done(self, trained: Trained) -> bool:
        """Whether nothing is left to do."""
        if trained.failure is not None:
            return True
        names = [measure.name for measure in self.measures]
        places = [place for _, place in self.measured(trained)]
        return trained.finished and all(place.scores(name) is not None for place in places for name in names)


Train = Callable[[Cell, Trained], int]
"""Trains a cell to its end and notes that; the exit code is not 0 where a signal stopped it."""
Listen = Callable[[Cell, Path], Any]
"""What measures are called with, given a cell and the folder of its model."""
Say = Callable[[str], object]
Work = Callable[..., "Outcome"]
"""Does what `work` does, with the same arguments."""


@dataclass(frozen=True)
class Outcome:
    """How a call of `work` ended.

    Attributes:
        busy: cells that other processes are at, "NAME, seed S".
        failed: why each of these failed, by the same name.
        exit_code: 0, or what the training returned when a signal stopped it.
    """

    busy: Sequence[str]
    failed: Mapping[str, str]
    exit_code: int = 0


def work(cells: Sequence[Cell], folder: Folder, *, train: Train, listen: Listen, say: Say = print) -> Outcome:
    """Train every cell, and measure each.

    Args:
        cells: in the order in which they are done.
        folder: where it all lies.
        train, listen: see `Train` and `Listen`.
        say: called with the progress, a line.

    Raises:
        AaspError: the data, or the request, are not as they should be: no cell would fare better.
        OSError: the machine failed, the disk is full.
    """
    busy: list[Cell] = []
    for number, cell in enumerate(cells, start=1):
        trained = folder.trained(cell.name, cell.seed)
        if cell.done(trained):
            continue
        with trained.taken() as ours:
            if not ours:
                busy.append(cell)
                continue
            if cell.done(trained):
                continue
            try:
                if not trained.finished:
                    if cell.kind in TRAINED:
                        say(f"training {cell.place} (cell {number} of {len(cells)})")
                    code = train(cell, trained)
                    if code:
                        return outcome_of(cells, folder, busy, code)
                trained.drop_checkpoints()
                for when, place in cell.measured(trained):
                    _measure(cell, place, when, listen, say)
            except Exception as error:  # whatever a method does
                if not _its_own(error):
                    raise
                trained.fail(_why(error))
                say(f"failed: {cell.place}: {trained.failure}; remove {trained.broken} to try again")
    return outcome_of(cells, folder, busy)


def outcome_of(cells: Sequence[Cell], folder: Folder, busy: Sequence[Cell], exit_code: int = 0) -> Outcome:
    """How it ended, as the folder says.

    Args:
        cells: all of them.
        folder: where it all lies.
        busy: cells that other processes were at; they may have done with them since.
        exit_code: as `Outcome` has it.
    """
    still = [cell.place for cell in busy if not cell.done(folder.trained(cell.name, cell.seed))]
    failures = {cell.place: folder.trained(cell.name, cell.seed).failure for cell in cells}
    return Outcome(still, {place: why for place, why in failures.items() if why is not None}, exit_code)


def _its_own(error: Exception) -> bool:
    """Whether the cell itself failed, rather than the machine, the data or the request."""
    if isinstance(error, AaspError):
        return isinstance(error, TrainingStopped | Unusable)
    return not isinstance(error, OSError)


def _why(error: Exception) -> str:
    if isinstance(error, TrainingStopped):
        return explained(error)
    return str(error) if isinstance(error, AaspError) else f"{type(error).__name__}: {error}"


def _measure(cell: Cell, place: Measured, when: str, listen: Listen, say: Say) -> None:
    missing = [measure for measure in cell.measures if place.scores(measure.name) is None]
    if not missing:
        return
    say(f"measuring {cell.place}{when}: {'; '.join(measure.name for measure in missing)}")
    listener = listen(cell, place.model)
    for measure in missing:
        place.keep(measure.name, measure(listener))
