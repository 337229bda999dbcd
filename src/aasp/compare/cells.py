"""Train and measure missing cells; finished and failed work is never repeated.

Cells are processed in order. Several processes, also on several machines, may work in one folder, each on cells that no
other process is working on. A failed cell is recorded and does not stop the others. Source: ours.
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
"""A recipe's pre-training; its architecture trained with labels; its untrained encoder; an encoder trained elsewhere;
statistics."""
TRAINED: tuple[Kind, ...] = ("trained", "scratch")


@dataclass(frozen=True)
class Cell:
    """A single training and its measurements.

    Attributes:
        name: of the cell; cells of one name and different seeds repeat a training.
        seed: of the training.
        measures: its measurements.
        recipe: the recipe that is trained, or whose architecture is used; None if there is none.
        kind: one of the five kinds.
        stages: steps before the last whose encoders are kept.
        curve: whether those encoders are measured too.
    """

    name: str
    seed: int
    measures: Sequence[Measure]
    recipe: Recipe | None
    kind: Kind = "trained"
    stages: Sequence[int] = ()
    curve: bool = True

    @property
    def place(self) -> str:
        """The cell's name in messages."""
        return f"{self.name}, seed {self.seed}"

    def measured(self, trained: Trained) -> Iterator[tuple[str, Measured]]:
        """The folders of the encoders to measure, earliest first, each with a suffix for messages."""
        for step in self.stages if self.curve else ():
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
"""Trains a cell to its end and records that; the exit code is not 0 if a signal stopped it."""
Listen = Callable[[Cell, Path], Any]
"""Returns the argument of measures, given a cell and the folder of its model."""
Say = Callable[[str], object]
Work = Callable[..., "Outcome"]
"""A function like `work`, with the same arguments."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call of `work`.

    Attributes:
        busy: cells that other processes are working on, "NAME, seed S".
        failed: reasons of failed cells, by the same name.
        exit_code: 0, or the exit code of a training stopped by a signal.
    """

    busy: Sequence[str]
    failed: Mapping[str, str]
    exit_code: int = 0


def work(cells: Sequence[Cell], folder: Folder, *, train: Train, listen: Listen, say: Say = print) -> Outcome:
    """Train every cell, and measure each.

    Args:
        cells: in the order of processing.
        folder: their folder.
        train, listen: see `Train` and `Listen`.
        say: called with lines of progress.

    Raises:
        AaspError: the data, or the request, are invalid, so that every cell would fail.
        OSError: the machine failed, or the disk is full.
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
            except Exception as error:  # any error of a method
                if not _its_own(error):
                    raise
                trained.fail(_why(error))
                say(f"failed: {cell.place}: {trained.failure}; remove {trained.broken} to try again")
    return outcome_of(cells, folder, busy)


def outcome_of(cells: Sequence[Cell], folder: Folder, busy: Sequence[Cell], exit_code: int = 0) -> Outcome:
    """The outcome according to the folder.

    Args:
        cells: all of them.
        folder: their folder.
        busy: cells that other processes were working on; they may have finished since.
        exit_code: as in `Outcome`.
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
