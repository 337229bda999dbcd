"""An ablation's folder: what lies where, who works at which cell, and what all its cells have in common.

settings.json                        recipe, steps, data: the same for all cells, whatever suite they belong to
cells/NAME/seed-0/model/             the encoder, and metrics.jsonl, recipe.json, environment.json of its run
cells/NAME/seed-0/trained.json       it is finished
cells/NAME/seed-0/scores/*.json      what was measured of it
ablation.json                        what it all comes to
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aasp.aliasing.ablation.measures import Scores
from aasp.errors import AaspError
from aasp.files import atomic_write, locked


@dataclass(frozen=True)
class Trained:
    """A cell with one seed.

    Attributes:
        path: its folder, a run's.
    """

    path: Path

    @property
    def finished(self) -> bool:
        return (self.path / "trained.json").exists()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Note that training is over."""
        write_json(self.path / "trained.json", facts)

    def scores(self, measure: str) -> Scores | None:
        """What was measured, or None."""
        file = self._file(measure)
        return Scores(**read_json(file)) if file.exists() else None

    def keep(self, measure: str, scores: Scores) -> None:
        """Write down what was measured."""
        write_json(self._file(measure), asdict(scores))

    def taken(self) -> AbstractContextManager[bool]:
        """Whether it is ours to work at while the context lasts: False where another process is at it."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path / ".taken")

    def _file(self, measure: str) -> Path:
        return self.path / "scores" / f"{measure.replace('/', '-').replace(' ', '-')}.json"


@dataclass(frozen=True)
class Folder:
    """The folder of an ablation."""

    path: Path

    def trained(self, cell: str, seed: int) -> Trained:
        return Trained(self.path / "cells" / cell / f"seed-{seed}")

    @property
    def result(self) -> Path:
        return self.path / "ablation.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What the cells there have in common; empty for a new folder.

        Raises:
            AaspError: the folder holds something else.
        """
        file = self.path / "settings.json"
        if file.exists():
            return read_json(file)
        if self.path.exists() and not self.path.is_dir():
            raise AaspError(f"output is a file: {self.path}; --out names a folder")
        if self.path.exists() and any(not one.name.startswith(".") for one in self.path.iterdir()):
            raise AaspError(f"output is neither empty nor an ablation: {self.path}; choose another --out")
        return {}

    def settle(self, wanted: Mapping[str, Any]) -> None:
        """Write down what all cells have in common, or see that it is the same.

        Raises:
            AaspError: the cells there were trained otherwise.
        """
        known = self.settings
        for name in sorted(name for name in wanted if known and known.get(name) != wanted[name]):
            raise AaspError(
                f"output holds another ablation: {self.path} has {name} = {known.get(name)}, this one {wanted[name]}; "
                "choose another --out, or the same to go on"
            )
        if not known:
            write_json(self.path / "settings.json", wanted)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_write(path) as beside:
        beside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        AaspError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AaspError(f"{path}: not readable as JSON ({error}); remove it, and it is made anew") from None
