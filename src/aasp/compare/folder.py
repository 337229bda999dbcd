"""The folder of an ablation or a comparison: its files, locks on cells, and common settings of all cells.

settings.json                        common settings of all cells: data, budget, steps
cells/NAME/seed-0/model/             the encoder, and metrics.jsonl, recipe.json, environment.json of its run
cells/NAME/seed-0/trained.json       training is finished
cells/NAME/seed-0/failed.json        reason of a failure
cells/NAME/seed-0/scores/*.json      its scores
cells/NAME/seed-0/stages/step-N/     the same at an earlier step: model/ and scores/
ablation.json or comparison.json     results
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
from aasp.training.tracking import read_starts

REMEDY = "remove it, and it is made again"


def file_name(name: str) -> str:
    """The name of a set or a measure as a name of a file or a folder."""
    return name.replace("/", "-").replace(" ", "-")


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
        """Save the scores of a measure."""
        write_json(self._file(measure), asdict(scores))

    def _file(self, measure: str) -> Path:
        return self.path / "scores" / f"{file_name(measure)}.json"


@dataclass(frozen=True)
class Trained(Measured):
    """A cell with one seed; its folder is that of a run."""

    @property
    def finished(self) -> bool:
        return (self.path / "trained.json").exists()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Record that training is finished."""
        write_json(self.path / "trained.json", facts)

    @property
    def failure(self) -> str | None:
        """The reason of a failure, or None."""
        if not self.broken.exists():
            return None
        with documents.as_written(self.broken, REMEDY):
            return str(read_json(self.broken)["why"])

    @property
    def broken(self) -> Path:
        """The file with the reason of a failure; if it is removed, the cell is tried again."""
        return self.path / "failed.json"

    def fail(self, why: str) -> None:
        """Record a failure, so that no process tries again."""
        write_json(self.broken, {"why": why})

    def drop_checkpoints(self) -> None:
        """Remove the files that only an unfinished training needs, and leftovers of a killed process."""
        clear_left(self.path, held=True)
        place = self.path / "checkpoints"
        if place.exists():
            aside = hidden(place, "tmp")
            place.rename(aside)  # first, so that a half-removed folder does not look complete
            shutil.rmtree(aside)

    def stage(self, step: int) -> Measured:
        """The encoder at an earlier step, and its scores."""
        return Measured(self.path / "stages" / f"step-{step:08d}")

    def keep_stage(self, step: int, model: Path) -> None:
        """Copy the model of an earlier step, atomically."""
        place = self.stage(step).model
        if place.exists():
            return
        beside = hidden(place, "tmp")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(model, beside)
        beside.rename(place)

    def taken(self) -> AbstractContextManager[bool]:
        """Lock the cell for the duration of the context; the value is False if another process is working on it."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path / ".taken")


@dataclass(frozen=True)
class Folder:
    """The folder of an ablation or a comparison.

    Attributes:
        path: of the folder.
        kind: which of the two.
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
            AaspError: the folder contains something else.
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
        """Lock the common settings for the duration of the context; other processes wait.

        If the context raises, a new folder without settings is removed.
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

    def check(self, wanted: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> None:
        """Check that the common settings are equal to those in the folder, if it has any.

        Args:
            wanted: the settings.
            known: those in the folder, if they are not only in its settings.json.

        Raises:
            AaspError: the cells in the folder were trained with other settings.
        """
        known = self.settings if known is None else known
        for name in sorted(name for name in wanted if known and known.get(name) != wanted[name]):
            raise AaspError(
                f"output holds another {self.kind}: {self.path} has {name} = {known.get(name)}, this one "
                f"{wanted[name]}; choose another --out, or the same to resume"
            )

    @property
    def recorded(self) -> dict[str, Any]:
        """The environment and the data of a pre-training in the folder, as its run recorded them; or nothing."""
        for file in sorted(self.path.glob("cells/*/seed-*/environment.json")):
            if starts := read_starts(file):
                return starts[-1]
        return {}

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        write_json(self.path / "settings.json", settings)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        AaspError: it is damaged.
    """
    return documents.read_json(path, REMEDY, documents.MAX_RESULTS_BYTES)
