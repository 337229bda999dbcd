"""The folder of an ablation or a comparison: what lies where, who works at which cell, what all cells have in common.

settings.json                        what is the same for all cells: data, budget, steps
cells/NAME/seed-0/model/             the encoder, and metrics.jsonl, recipe.json, environment.json of its run
cells/NAME/seed-0/trained.json       it is finished
cells/NAME/seed-0/failed.json        why it failed
cells/NAME/seed-0/scores/*.json      what was measured of it
cells/NAME/seed-0/stages/step-N/     the same at an earlier step: model/ and scores/
ablation.json or comparison.json     what it all comes to
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from aasp import documents
from aasp.compare.measures import Scores
from aasp.errors import AaspError
from aasp.files import atomic_write, clear_left, hidden, locked

REMEDY = "remove it, and it is made again"


@dataclass(frozen=True)
class Measured:
    """An encoder and its scores.

    Attributes:
        path: their folder.
    """

    path: Path

    @property
    def model(self) -> Path:
        return self.path / "model"

    def scores(self, measure: str) -> Scores | None:
        """The measured scores, or None."""
        file = self._file(measure)
        if not file.exists():
            return None
        with documents.as_written(file, REMEDY):
            return Scores(**read_json(file))

    def keep(self, measure: str, scores: Scores) -> None:
        """Write down what was measured."""
        write_json(self._file(measure), asdict(scores))

    def _file(self, measure: str) -> Path:
        return self.path / "scores" / f"{measure.replace('/', '-').replace(' ', '-')}.json"


@dataclass(frozen=True)
class Trained(Measured):
    """A cell with one seed; its folder is a run's."""

    @property
    def finished(self) -> bool:
        return (self.path / "trained.json").exists()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Note that training is over."""
        write_json(self.path / "trained.json", facts)

    @property
    def failure(self) -> str | None:
        """Why it failed, or None."""
        if not self.broken.exists():
            return None
        with documents.as_written(self.broken, REMEDY):
            return str(read_json(self.broken)["why"])

    @property
    def broken(self) -> Path:
        """The file with the reason of a failure; without it the cell is tried again."""
        return self.path / "failed.json"

    def fail(self, why: str) -> None:
        """Record the failure: no process tries again."""
        write_json(self.broken, {"why": why})

    def drop_checkpoints(self) -> None:
        """Remove what only an unfinished training needs, and what a process that was killed left."""
        clear_left(self.path, held=True)
        place = self.path / "checkpoints"
        if place.exists():
            aside = hidden(place, "tmp")
            place.rename(aside)  # first: what is half removed must not look whole
            shutil.rmtree(aside)

    def stage(self, step: int) -> Measured:
        """Its encoder after so many steps, before the last."""
        return Measured(self.path / "stages" / f"step-{step:08d}")

    def keep_stage(self, step: int, model: Path) -> None:
        """Copy the model as it is after so many steps, whole or not at all."""
        place = self.stage(step).model
        if place.exists():
            return
        beside = hidden(place, "tmp")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(model, beside)
        beside.rename(place)

    def taken(self) -> AbstractContextManager[bool]:
        """Whether it is ours to work at while the context lasts: False where another process is at it."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path / ".taken")


@dataclass(frozen=True)
class Folder:
    """The folder.

    Attributes:
        path: where.
        kind: what it is of.
    """

    path: Path
    kind: Literal["ablation", "comparison"] = "ablation"

    def trained(self, cell: str, seed: int) -> Trained:
        return Trained(self.path / "cells" / cell / f"seed-{seed}")

    @property
    def result(self) -> Path:
        return self.path / f"{self.kind}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """The common settings of the cells; empty for a new folder.

        Raises:
            AaspError: the folder holds something else.
        """
        file = self.path / "settings.json"
        if file.exists():
            return documents.read_object(file, REMEDY)
        if self.path.exists() and not self.path.is_dir():
            raise AaspError(f"output is a file: {self.path}; --out names a folder")
        if self.path.exists() and any(not one.name.startswith(".") for one in self.path.iterdir()):
            article = {"ablation": "an ablation", "comparison": "a comparison"}[self.kind]
            raise AaspError(f"output is neither empty nor {article}: {self.path}; choose another --out")
        return {}

    @contextmanager
    def setup_lock(self) -> Iterator[None]:
        """While the context lasts no other process sets what all cells have in common; they wait.

        A folder that is new, and in which nothing is set then, is removed.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = self.path / ".settings.lock"
        try:
            with locked(lock, wait=True):
                yield
        except BaseException:
            if [one.name for one in self.path.iterdir()] == [lock.name]:
                lock.unlink()
                self.path.rmdir()
            raise

    def check(self, wanted: Mapping[str, Any]) -> None:
        """Check that what all cells have in common is the same, where there are cells.

        Raises:
            AaspError: the cells there were trained otherwise.
        """
        known = self.settings
        for name in sorted(name for name in wanted if known and known.get(name) != wanted[name]):
            raise AaspError(
                f"output holds another {self.kind}: {self.path} has {name} = {known.get(name)}, this one "
                f"{wanted[name]}; choose another --out, or the same to resume"
            )

    def ensure_settings(self, wanted: Mapping[str, Any]) -> None:
        """Write down what all cells have in common, or check that it is the same.

        Raises:
            AaspError: the cells there were trained otherwise.
        """
        self.check(wanted)
        if not self.settings:
            self.write_settings(wanted)

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        write_json(self.path / "settings.json", settings)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        AaspError: it is damaged.
    """
    return documents.read_json(path, REMEDY, documents.LARGEST_RESULTS)
