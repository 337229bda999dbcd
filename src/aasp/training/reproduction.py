"""Comparison of a run with its repetition: differences in environment and data, and in the losses.

Only ``recipe.json``, ``environment.json`` and ``metrics.jsonl`` are read; no checkpoint is needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aasp.errors import AaspError
from aasp.training.tracking import read_metrics

MEANING = {
    "commit": "other code",
    "aasp": "other code",
    "own_code": "your own parts",
    "torch": "last digits",
    "machine": "last digits",
    "device": "last digits",
    "processes": "everything, since each process draws its own masks",
    "threads": "last digits",
    "precision": "digits",
    "numpy": "perhaps last digits",
    "grain": "perhaps the order of the data",
    "soundfile": "perhaps the samples",
    "soxr": "perhaps the samples",
}
"""The possible effect of a difference in the environment; other differences have no known effect."""


@dataclass(frozen=True)
class Difference:
    """A difference from the recorded run: its name, the value then and now, and what it may change."""

    name: str
    then: str
    now: str
    changes: str = "nothing known"


@dataclass(frozen=True)
class Recorded:
    """The record of a run.

    Attributes:
        run: its folder.
        recipe: its recipe, JSON values.
        start: its first start: the command line, versions, machine, and its data in numbers.
        history: its last start, with extensions and changes of data.
    """

    run: Path
    recipe: Mapping[str, Any]
    start: Mapping[str, Any]
    history: Mapping[str, Any]

    @classmethod
    def of(cls, run: Path) -> Recorded:
        """Read the record of a run.

        Raises:
            AaspError: a file is missing or damaged.
        """
        found = []
        for name, kind in (("recipe.json", dict), ("environment.json", list)):
            try:
                found.append(json.loads((run / name).read_text(encoding="utf-8")))
            except FileNotFoundError:
                raise AaspError(f"no {name} in {run}; give the folder of a run, which has one") from None
            except (OSError, ValueError, RecursionError) as error:
                raise AaspError(f"{run / name}: not readable as JSON ({error}); get another copy of the run") from None
            if not isinstance(found[-1], kind) or not found[-1]:
                raise AaspError(f"{run / name}: not a run's; get another copy of the run")
        recipe, starts = found
        if not all(isinstance(one, dict) for one in starts) or not _words(starts[0].get("command")):
            raise AaspError(f"{run / 'environment.json'}: has no command; get another copy of the run")
        return cls(run, recipe, starts[0], starts[-1])

    @property
    def argv(self) -> list[str]:
        """The command line without the program."""
        return list(self.start["command"][1:])

    def environment_differences(self, now: Mapping[str, Any]) -> Iterator[Difference]:
        """Differences of the current environment from the run's.

        Args:
            now: from `aasp.training.environment.describe`.
        """
        for name, value in now.items():
            then = self.start.get(name)
            if then != value:
                yield Difference(name, _text(then), _text(value), MEANING.get(name, "nothing known"))

    def data_differences(self, now: Mapping[str, Any]) -> Iterator[Difference]:
        """Differences of the current data from the run's; facts that an older version did not record are skipped.

        Args:
            now: facts of the data by name, as a run records them.
        """
        known = {**self.start, **(self.recipe.get("finetuned") or {})}
        for name, value in now.items():
            if name in known and known[name] != value:
                yield Difference(name, _text(known[name]), _text(value), "everything")


@dataclass(frozen=True)
class Losses:
    """Comparison of the losses of a run and its repetition, at the steps that both logged.

    Attributes:
        steps: the number of these steps.
        missing: steps that only the run logged.
        first: the first step with a difference, the name of the loss, and its value then and now; None if all are
            bit-identical.
        largest: the largest relative difference, and its step.
        last: the relative difference of the loss at the last step.
    """

    steps: int
    missing: int
    first: tuple[int, str, float | None, float | None] | None
    largest: tuple[float, int]
    last: float

    @classmethod
    def of(cls, run: Path, again: Path) -> Losses:
        """Compare two runs' logs."""
        then = {line["step"]: line for line in read_metrics(run)}
        now = {line["step"]: line for line in read_metrics(again)}
        steps = sorted(int(step) for step in then.keys() & now.keys())
        first: tuple[int, str, float | None, float | None] | None = None
        largest, last = (0.0, 0), 0.0
        for step in steps:
            for name in [name for name in then[step] if name == "loss" or name.startswith("losses/")]:
                was, new = then[step][name], now[step].get(name)
                apart = _apart(was, new)
                if was != new and first is None:
                    first = step, name, was, new
                largest = max(largest, (apart, step), key=lambda one: one[0])
                last = apart if name == "loss" else last
        return cls(len(steps), len(then.keys() - now.keys()), first, largest, last)

    @property
    def equal(self) -> bool:
        """Whether there are steps to compare, and all their losses are bit-identical."""
        return self.steps > 0 and self.first is None

    def summary(self) -> str:
        """The comparison as one sentence."""
        if not self.steps:
            return "no step was logged by both runs: nothing to compare"
        more = f"; {self.missing:,} more were logged then" if self.missing else ""
        if self.first is None:
            return f"losses are equal bit for bit at all {self.steps:,} logged steps{more}"
        step, name, was, new = self.first
        return (
            f"losses differ first at step {step:,} of {self.steps:,} logged ones{more}: {name} was {was} and is {new}; "
            f"by {self.largest[0]:.1e} of the value at most (step {self.largest[1]:,}), by {self.last:.1e} in the end"
        )


def _apart(was: float | None, new: float | None) -> float:
    """The relative difference; infinite where one of the two is not a number."""
    if was == new:
        return 0.0
    if was is None or new is None:
        return math.inf
    return abs(new - was) / max(abs(was), abs(new))


def _words(command: Any) -> bool:
    return isinstance(command, Sequence) and len(command) > 1 and all(isinstance(word, str) for word in command)


def _text(value: Any) -> str:
    return "not known" if value is None else str(value)
