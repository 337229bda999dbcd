"""Results of a comparison: scores at every stage and paired differences of systems, all with intervals.

A question is one measure, or the average over sets of one kind of reading. S seeds, n clips. Source: ours; see
`differences` for intervals and detectable effects, `evaluate.averages` for averages.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aasp.compare.cells import TRAINED, Kind
from aasp.compare.differences import BySeed, Difference, difference, mean, of, paired, seeds_of
from aasp.compare.folder import Folder
from aasp.compare.layout import Layout
from aasp.compare.measures import Measure, Scores
from aasp.compare.readings import BANDS, WAYS, Reading
from aasp.compare.supervised import cell_name, runs_in
from aasp.evaluate.averages import average_of
from aasp.evaluate.intervals import Interval
from aasp.training.tracking import read_metrics

RESAMPLES = 2_000
"""Fewer than usual, because there are many pairs: the ends of intervals are accurate to a fortieth of their width."""


@dataclass(frozen=True)
class System:
    """A scored system: a recipe's trainings at some step, one of its baselines, or an encoder trained elsewhere.

    Attributes:
        name: of its cells; for training with labels, which has one cell per set, without the set.
        kind: of its cells.
        step: number of steps; 0 for systems without a single training budget.
        last: whether that is the end of the training.
    """

    name: str
    kind: Kind
    step: int = 0
    last: bool = True


@dataclass(frozen=True)
class Row:
    """The result of one system for one question.

    Attributes:
        question, metric: what was measured.
        system, kind, step, last: as in `System`.
        score: mean and interval.
        seeds: the score of each seed.
        trainings: the seeds.
        seconds: of the training steps up to `step`, without waiting for data, as a mean over seeds; or None.
        flops: of the steps up to `step`. With labels, both are means over sets.
        chance: chance level, or None.
    """

    question: str
    metric: str
    system: str
    kind: Kind
    step: int
    last: bool
    score: Interval
    seeds: Sequence[float]
    trainings: Sequence[int]
    seconds: float | None
    flops: int
    chance: float | None


@dataclass(frozen=True)
class Pair:
    """One system minus another, at the end of training: paired by clip and, if equal seeds match, by seed."""

    question: str
    system: str
    difference: Difference


class Results:
    """All results so far.

    Args:
        folder: of the comparison.
        layout: its recipes.
        readings: measures of all systems.
        more: additional measures of encoders.
    """

    def __init__(self, folder: Folder, layout: Layout, readings: Sequence[Reading], more: Sequence[Measure]) -> None:
        self.folder, self.layout = folder, layout
        averages = {}
        for way in WAYS:
            some = [one for one in readings if one.way == way]
            sets = [one.name for one in some if one.averaged]
            if len(sets) > 1:
                averages[f"average of {len(sets)} sets, {way}"] = sets
            if 1 < len(some) > len(sets):
                averages[f"average with modulation rate, {way}"] = [one.name for one in some]
        names = [*(one.name for one in readings), *(one.name for one in more)]
        self.questions: dict[str, list[str]] = {**averages, **{name: [name] for name in names}}
        self._sets = {reading.name: reading.set for reading in readings}
        self._tested = {reading.name: reading.tested for reading in readings}
        self._known: dict[tuple[System, str], dict[int, Scores]] = {}

    @cached_property
    def systems(self) -> list[System]:
        """Recipes at each stage, then their baselines."""
        out = []
        for name in self.layout.recipes:
            stages = self.layout.stages(name)
            out += [System(name, "trained", step, step == stages[-1]) for step in stages]
        for kind, names in self._baselines().items():
            out += [System(name, kind) for name in names]
        return out

    def _baselines(self) -> dict[Kind, list[str]]:
        """The baselines of every recipe, and the untrained encoder of each."""
        return {
            "untrained": list(dict.fromkeys(self.layout.untrained.values())),
            "scratch": list(dict.fromkeys(cell.partition("/")[0] for cell in self.layout.supervised)),
            "frozen": list(self.layout.frozen),
            "log-mel": list(BANDS),
        }

    def scores(self, system: System, measure: str) -> dict[int, Scores]:
        """A system's scores by seed."""
        key = system, measure
        if key not in self._known:
            found = {}
            for seed in range(1 if system.kind in ("log-mel", "frozen") else self.layout.seeds):
                trained = self.folder.trained(self._cell(system, measure), seed)
                scores = (trained if system.last else trained.stage(system.step)).scores(measure)
                if scores is not None:
                    found[seed] = scores
            self._known[key] = found
        return self._known[key]

    def _cell(self, system: System, measure: str) -> str:
        """The cell with a system's scores of a measure; for training with labels it depends on the measure's set."""
        return cell_name(system.name, self._sets.get(measure, "")) if system.kind == "scratch" else system.name

    def rows(self) -> Iterator[Row]:
        """The available results for every question."""
        for question, measures in self.questions.items():
            for system in self.systems:
                each = self._complete(system, measures)
                if not each[0]:
                    continue
                score, alone = self._score(each, measures)
                first = next(iter(each[0].values()))
                seconds, flops = self._spent(system, measures, list(each[0]))
                place = (system.name, system.kind, system.step, system.last)
                chance = float(np.mean([next(iter(one.values())).chance or 0.0 for one in each])) or None
                yield Row(question, first.metric, *place, score, alone, list(each[0]), seconds, flops, chance)

    def pairs(self) -> Iterator[Pair]:
        """Differences of any two recipes, and of each recipe and its baselines, at the end of training."""
        last = {system.name: system for system in self.systems if system.last}
        names = list(self.layout.recipes)
        held = [name for kind, some in self._baselines().items() if kind != "untrained" for name in some]
        for question, measures in self.questions.items():
            for number, name in enumerate(names):
                baselines = [self.layout.untrained[name], *held]
                for other in [*names[number + 1 :], *baselines]:
                    found = self._difference(last[name], last[other], measures)
                    if found is not None:
                        yield Pair(question, name, found)

    def document(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """All results as JSON, the input of the tables and the page.

        Args:
            facts: additional entries.
        """
        recipes = {}
        for name, recipe in self.layout.recipes.items():
            recipes[name] = {
                "summary": recipe.summary,
                **self._costs(name, 1),
                "untrained": self.layout.untrained[name],
            }
        supervised = {}
        for cell, one in self.layout.supervised.items():
            text = f"{one.recipe.name} with labels of {one.task.set}"
            supervised[cell] = {"summary": text, **self._costs(cell, one.task.rounds)}
        rows, pairs = ([asdict(one) for one in some] for some in (self.rows(), self.pairs()))
        found = {"recipes": recipes, "supervised": supervised, "rows": rows, "pairs": pairs}
        return {**facts, "seeds": self.layout.seeds, **found}

    def _complete(self, system: System, measures: Sequence[str]) -> list[dict[int, Scores]]:
        """Scores of each measure by seed, for the seeds that have all measures."""
        found = [self.scores(system, measure) for measure in measures]
        whole = [seed for seed in found[0] if all(seed in one for one in found)]
        return [{seed: one[seed] for seed in whole} for one in found]

    def _score(self, each: Sequence[BySeed], measures: Sequence[str]) -> tuple[Interval, list[float]]:
        if len(each) == 1:
            return mean(each[0], RESAMPLES)
        alone = np.mean([mean(one, 1)[1] for one in each], axis=0).tolist()
        requested = [
            {"scores": [s.values for s in one.values()], "clusters": _first(one).drawn, "rounds": _first(one).rounds}
            for one in each
        ]
        return average_of(requested, self._clips(each, measures), resamples=RESAMPLES), alone

    def _difference(self, ours: System, theirs: System, measures: Sequence[str]) -> Difference | None:
        found = self._paired(ours, theirs, measures)
        # A single training of a recipe says nothing of its others; other rows have one result and no others.
        single = theirs.kind in TRAINED and len(self._complete(theirs, measures)[0]) < 2
        return replace(found, detectable=None) if found is not None and single else found

    def _paired(self, ours: System, theirs: System, measures: Sequence[str]) -> Difference | None:
        one, two = self._complete(ours, measures), self._complete(theirs, measures)
        matched = theirs.kind in ("trained", "untrained")  # initialised from the same seed
        if len(measures) == 1:
            return difference(one[0], two[0], theirs.name, matched=matched, resamples=RESAMPLES)
        seeds = seeds_of([one[0], two[0]], matched)
        if not all(seeds):
            return None
        requested = [paired(a, b, seeds, theirs.name) | {"matched": matched} for a, b in zip(one, two, strict=True)]
        return of(theirs.name, average_of(requested, self._clips(one, measures), resamples=RESAMPLES))

    def _clips(self, each: Sequence[BySeed], measures: Sequence[str]) -> list[Hashable]:
        """A key for each measure, equal for those of the same clips and clusters, which share their draws."""
        clusters = [_first(one).drawn for one in each]
        return [(self._tested[name], some and tuple(some)) for name, some in zip(measures, clusters, strict=True)]

    def _costs(self, cell: str, rounds: int) -> dict[str, Any]:
        """The planned cost of a cell's trainings, the number of finished ones, and the time of their steps."""
        done = [seed for seed in range(self.layout.seeds) if self.folder.trained(cell, seed).finished]
        cost = self.layout.costs[cell]
        took = self._seconds(cell, cost.steps, done)
        return {**cost.to_dict(), "trainings": rounds * len(done), "trained_seconds": took}

    def _spent(self, system: System, measures: Sequence[str], seeds: Sequence[int]) -> tuple[float | None, int]:
        """Seconds and FLOPs of a training up to the step of the system."""
        if system.kind not in TRAINED:
            return None, 0
        cells = dict.fromkeys(self._cell(system, measure) for measure in measures)
        steps = {cell: system.step or self.layout.costs[cell].steps for cell in cells}
        took = [self._seconds(cell, step, seeds) for cell, step in steps.items()]
        known = [one for one in took if one is not None]
        seconds = float(np.mean(known)) if len(known) == len(took) else None
        return seconds, round(np.mean([step * self.layout.costs[cell].flops for cell, step in steps.items()]))

    def _seconds(self, cell: str, step: int, seeds: Sequence[int]) -> float | None:
        """Mean time of the steps up to `step` over seeds and folds, from the runs' records; or None."""
        runs = [run for seed in seeds for run in runs_in(self.folder.trained(cell, seed).path)]
        took = [_computed(run, step) for run in runs]
        known = [one for one in took if one is not None]
        return float(np.mean(known)) if known and len(known) == len(took) else None


def _computed(run: Path, step: int) -> float | None:
    """Seconds of a run's steps up to `step`, without waiting for data; None if nothing is recorded."""
    lines = read_metrics(run)
    if not lines:
        return None
    steps = np.array([0, *(line["step"] for line in lines)])
    ends = np.array([0.0, *(line["seconds"] for line in lines)])
    waited = np.array([line["waiting_share"] for line in lines])
    computed = np.cumsum([0.0, *(np.diff(ends) * (1 - waited))])
    return float(np.interp(step, steps, computed))


def _first(scores: BySeed) -> Scores:
    return next(iter(scores.values()))
