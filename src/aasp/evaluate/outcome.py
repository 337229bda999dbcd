"""The stored result of a system: records for tables, and all predictions, for later comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aasp.audio.sounds import describe
from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.probe import ProbeResult, scores
from aasp.evaluate.records import Record
from aasp.evaluate.task import Task


def system_name(model: str) -> str:
    """The name of a model in tables: the name of its folder, or of its run if the folder is called `model`."""
    path = Path(model)
    return path.parent.name if path.name == "model" and path.parent.name else path.name or model


def score_records(
    like: Record,
    task: Task,
    results: Sequence[ProbeResult],
    details: Sequence[Sequence[Mapping[str, Any]]] | None = None,
) -> list[Record]:
    """A record for each seed and round, with an interval if there is only one round. Regression adds a record for MAE.

    Args:
        like: the common fields; split, seed, metric, value and clips are filled in, seeds counted from its own.
        task: of any seed.
        results: one per seed.
        details: for each seed and round, added to those of `like`.
    """
    records = []
    for number, result in enumerate(results):
        alone = {result.metric: result.alone} if len(task.rounds) == 1 else {}
        if alone and task.regression:
            alone = scores([result])
        for part, (r, value) in enumerate(zip(task.rounds, result.round_scores(), strict=True)):
            rows = result.round_rows[part]
            values = {result.metric: value}
            if task.regression:
                values["MAE"] = float(result.errors[rows].mean())
            for metric, one in values.items():
                within = alone.get(metric)
                records.append(
                    replace(
                        like,
                        split=r.name,
                        seed=like.seed + number,
                        metric=metric,
                        value=one,
                        clips=len(rows),
                        low=within.low if within else None,
                        high=within.high if within else None,
                        details={**like.details, **(details[number][part] if details else {})},
                    )
                )
    return records


def predictions(labelled: LabelledSet, task: Task, results: Sequence[ProbeResult]) -> list[dict[str, Any]]:
    """Every scored clip: its name, part, group, label, and each seed's prediction; as JSON values.

    Multi-label: lists of names, predicted where the probability is above a half. Regression: the numbers.
    """

    def named(y: Any) -> Any:
        if task.regression:
            return float(y)
        return [task.classes[k] for k in np.flatnonzero(y)] if task.multilabel else task.classes[y]

    first = results[0]
    return [
        {
            "clip": describe(labelled.sounds[row]),
            "part": task.rounds[first.rounds[i]].name,
            "group": None if first.groups is None else str(first.groups[i]),
            "truth": named(first.truth[i]),
            "predicted": [named(result.predicted[i]) for result in results],
        }
        for i, row in enumerate(first.test)
    ]
