"""What an ablation comes to: means, paired differences, their intervals, and the smallest effect it could have seen.

Source: ours; the intervals are `evaluate.intervals`: clusters of clips and seeds are both drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aasp.aliasing.ablation.suite import Suite
from aasp.compare.differences import Difference, difference, mean
from aasp.compare.folder import Folder
from aasp.compare.measures import Scores
from aasp.compare.units import Unit
from aasp.evaluate.intervals import Interval
from aasp.report.templates import render
from aasp.training.tracking import read_metrics


@dataclass(frozen=True)
class Row:
    """One measure of one cell.

    Attributes:
        measure, metric, cell: what.
        score: mean and interval.
        seeds: the mean of each seed.
        chance: the score of a guess, or None.
        differences: against the cell that it differs from in one thing, and against the whole system.
        details: of each seed.
    """

    measure: str
    metric: str
    cell: str
    score: Interval
    seeds: Sequence[float]
    chance: float | None
    differences: Sequence[Difference]
    details: Sequence[Mapping[str, Any]]


def rows(folder: Folder, suite: Suite, measures: Iterable[str], seeds: int) -> list[Row]:
    """All that is measured so far, measure by measure, in the suite's order."""
    out = []
    for measure in measures:
        found = {cell.name: _scores(folder, cell.name, measure, seeds) for cell in suite}
        for cell in suite:
            ours = found[cell.name]
            if not ours:
                continue
            compared = [name for name in dict.fromkeys((cell.against, suite.cells[0].name)) if name in found]
            leads = [difference(ours, found[name], name) for name in compared if name != cell.name]
            score, each = mean(ours)
            first, details = next(iter(ours.values())), [one.details for one in ours.values()]
            differences = [lead for lead in leads if lead is not None]
            out.append(Row(measure, first.metric, cell.name, score, each, first.chance, differences, details))
    return out


def document(folder: Folder, suite: Suite, found: Sequence[Row], seeds: int) -> dict[str, Any]:
    """Everything as JSON: what the table and the report are made of."""
    cells = []
    for cell in suite:
        runs = [folder.trained(cell.name, seed) for seed in range(seeds)]
        finished = [run for run in runs if run.finished]
        last = [curve[-1] for curve in (read_metrics(run.path) for run in finished) if curve]
        cells.append(
            {
                "name": cell.name,
                "asks": cell.asks,
                "against": cell.against,
                "changes": {name: str(value) for name, value in cell.changes.items()},
                "seeds": len(finished),
                "minutes": round(sum(line["seconds"] for line in last) / 60, 1),
                "last": last,
            }
        )
    about = {"suite": suite.name, "summary": suite.summary, "settings": folder.settings, "seeds": seeds}
    return {**about, "cells": cells, "rows": [asdict(row) for row in found]}


def table(rows: Sequence[Row]) -> list[str]:
    """One measure as a Markdown table: a line for each cell and each cell that it is compared with."""
    unit = Unit(rows[0].metric if rows else "")
    return render("aliasing/ablation.md", rows=rows, unit=unit, plain=lambda value: unit.text(value, "")).splitlines()


def _scores(folder: Folder, cell: str, measure: str, seeds: int) -> dict[int, Scores]:
    found = {seed: folder.trained(cell, seed).scores(measure) for seed in range(seeds)}
    return {seed: scores for seed, scores in found.items() if scores is not None}
