"""The results of an ablation: means, paired differences, their intervals, and the smallest detectable effect.

Source: ours; the intervals are those of `evaluate.intervals`: both clusters of clips and seeds are resampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aasp.aliasing.ablation.suite import Suite
from aasp.compare.differences import difference, mean
from aasp.compare.folder import Folder
from aasp.compare.units import Unit
from aasp.evaluate.intervals import clear
from aasp.report.templates import render
from aasp.training.tracking import read_metrics


def document(folder: Folder, suite: Suite, measures: Iterable[str], seeds: int) -> dict[str, Any]:
    """All measurements so far as JSON, the data of the table and the report.

    Each of `rows` is one measure of one cell: its score and interval, the mean for each seed, the chance score or None,
    its differences from the cell that it differs from in one thing and from the whole system, and details for each
    seed.

    Raises:
        AaspError: scores of two cells are for different clips.
    """
    about = {"suite": suite.name, "summary": suite.summary, "settings": folder.settings, "seeds": seeds}
    return {**about, "cells": _cells(folder, suite, seeds), "rows": rows(folder, suite, measures, seeds)}


def rows(folder: Folder, suite: Suite, measures: Iterable[str], seeds: int) -> list[dict[str, Any]]:
    """All measurements so far, by measure, in the suite's order; see `document`."""
    out = []
    for measure in measures:
        scores = lambda name, seed, measure=measure: folder.trained(name, seed).scores(measure)
        found = {cell.name: {seed: one for seed in range(seeds) if (one := scores(cell.name, seed))} for cell in suite}
        for cell in suite:
            if not (ours := found[cell.name]):
                continue
            compared = [name for name in dict.fromkeys((cell.against, suite.cells[0].name)) if name in found]
            leads = [difference(ours, found[name], name) for name in compared if name != cell.name]
            score, each = mean(ours)
            first = next(iter(ours.values()))
            out.append(
                {
                    "measure": measure,
                    "metric": first.metric,
                    "cell": cell.name,
                    "score": asdict(score),
                    "seeds": each,
                    "chance": first.chance,
                    "differences": [asdict(lead) for lead in leads if lead is not None],
                    "details": [one.details for one in ours.values()],
                }
            )
    return out


def _cells(folder: Folder, suite: Suite, seeds: int) -> list[dict[str, Any]]:
    """The question and changes of each cell, and the cost of its finished trainings."""
    out = []
    for cell in suite:
        finished = [run for seed in range(seeds) if (run := folder.trained(cell.name, seed)).finished]
        last = [curve[-1] for curve in (read_metrics(run.path) for run in finished) if curve]
        out.append(
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
    return out


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One measure as a Markdown table: a line for each cell and each cell it is compared with."""
    unit = Unit(rows[0]["metric"] if rows else "")
    forms = {"unit": unit, "plain": lambda value: unit.text(value, ""), "clear": clear}
    return render("aliasing/ablation.md", rows=rows, **forms).splitlines()
