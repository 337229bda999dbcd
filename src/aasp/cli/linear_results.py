"""Printing and writing the results of `aasp linear`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from aasp.cli.facts import facts
from aasp.config import fingerprint
from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.intervals import Interval
from aasp.evaluate.outcome import predictions, score_records, system_name
from aasp.evaluate.probe import Chosen, ProbeResult
from aasp.evaluate.protocol import Protocol
from aasp.evaluate.records import Record, code_version, write_records
from aasp.evaluate.task import Task
from aasp.formats import percent_text


@dataclass(frozen=True)
class Scored:
    """A model, its hash, and its results: a task and a result for each seed, and the scores with intervals."""

    model: str
    hash: str
    tasks: list[Task]
    results: list[ProbeResult]
    scores: Mapping[str, Interval]

    @property
    def notes(self) -> list[str]:
        """The notes of the seeds' tasks, without repeats."""
        return list(dict.fromkeys(note for task in self.tasks for note in task.notes))

    @property
    def each(self) -> list[float]:
        """Accuracy or mAP of each seed."""
        return [result.score for result in self.results]


def show_scores(protocol: Protocol, labelled: LabelledSet, scored: Scored, skipped: int) -> None:
    """Print the scores with their intervals, and the choices of every round."""
    task, first = scored.tasks[0], scored.results[0]
    seeds = len(scored.each)
    deviation = float(np.std(scored.each, ddof=1)) if seeds > 1 else 0.0
    apart = f"{deviation:.3f}" if task.regression else percent_text(deviation)
    spread = f"{_scores(scored.each, task.regression)}; deviation {apart}" if seeds > 1 else None
    said = f"{len(first.test):,} scored of {len(task.y):,}"
    facts(
        f"{scored.model} on {labelled.task_name}, protocol {protocol.preset}",
        {
            **{name: with_unit(one, task.regression) for name, one in scored.scores.items()},
            "seeds": spread,
            "interval": next(iter(scored.scores.values())).about(),
            "clips": f"{said}, {f'numbers: {task.classes[0]}' if task.regression else f'{len(task.classes)} classes'}",
            "note": scored.notes or None,
            "skipped": f"{skipped:,}" if skipped else None,
        },
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    settings = [name for name in first.chosen[0].setting if name in ("C", "k", "epoch", "ridge")]
    for name in ("  part", "layer", "pooling", *settings, "valid", "test"):
        table.add_column(name, justify="left" if name in ("  part", "pooling") else "right")
    by_round = zip(task.rounds, *(zip(r.chosen, r.round_scores(), strict=True) for r in scored.results), strict=True)
    for r, *seeds_of in by_round:
        chosen = [one for one, _ in seeds_of]
        table.add_row(
            f"  {r.name}",
            *(_joined(dict.fromkeys(one.key[i] for one in chosen)) for i in (0, 1)),
            *(_joined(one.setting[name] for one in chosen) for name in settings),
            _scores((one.valid_scores[one.key] for one in chosen), task.regression),
            _scores((value for _, value in seeds_of), task.regression),
        )
    Console(highlight=False).print(table)


def with_unit(one: Interval, plain: bool) -> str:
    """A score with its interval: shares in per cent, R² and errors as they are."""
    return one.plain() if plain else f"{one.percent()} %"


def show_lead(ours: Scored, theirs: Scored, lead: Mapping[str, Interval]) -> None:
    """Print the paired differences of two models."""
    plain = ours.results[0].regression
    points = {
        name: (one.plain("+") if plain else f"{one.percent('+')} points")
        + ("" if one.excludes_zero() else ", no clear difference")
        for name, one in lead.items()
    }
    facts(f"{ours.model} minus {theirs.model}, paired", points)


def write_results(
    path: Path,
    protocol: Protocol,
    labelled: LabelledSet,
    scored: Sequence[Scored],
    leads: Sequence[Mapping[str, Interval]],
) -> None:
    """Write the records, with all settings, choices and predictions."""
    records = []
    for one in scored:
        like = Record(
            system=system_name(one.model),
            model=one.model,
            model_hash=one.hash,
            recipe=protocol.preset,
            recipe_hash=fingerprint(protocol),
            benchmark=labelled.task_name,
            protocol=protocol.kind,
            split="",
            seed=0,
            metric="",
            value=0.0,
            clips=0,
            missing=len(labelled.missing),
            version=code_version(),
        )
        details = [
            [_details(r, chosen) for r, chosen in zip(task.rounds, result.chosen, strict=True)]
            for task, result in zip(one.tasks, one.results, strict=True)
        ]
        records += score_records(like, one.tasks[0], one.results, details)
    as_values = lambda found: {name: value.to_dict() for name, value in found.items()}
    write_records(
        path,
        records,
        source=labelled.source,
        protocol={"preset": protocol.preset, "layers": protocol.layers, "poolings": protocol.poolings}
        | {"settings": protocol.settings},
        classes=list(labelled.classes),
        notes=list(dict.fromkeys(note for one in scored for note in one.notes)),
        missing=[file._asdict() for file in labelled.missing],
        scores={one.model: as_values(one.scores) for one in scored},
        leads=[
            {"model": scored[0].model, "minus": other.model, **as_values(lead)}
            for other, lead in zip(scored[1:], leads, strict=True)
        ],
        predictions={one.model: predictions(labelled, one.tasks[0], one.results) for one in scored},
    )


def _details(r: Any, chosen: Chosen) -> dict[str, Any]:
    """A round's choice and its candidates, as JSON values."""
    return {
        "layer": chosen.key[0],
        "pooling": chosen.key[1],
        **chosen.setting,
        "train": len(r.train),
        "valid": len(r.valid),
        "candidates": [{"layer": k[0], "pooling": k[1], "valid": value} for k, value in chosen.valid_scores.items()],
    }


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(f"{value:.2g}" if isinstance(value, float) else str(value) for value in values)


def _scores(values: Iterable[float], plain: bool) -> str:
    return ", ".join(f"{value:.3f}" for value in values) if plain else _percents(values)


def _percents(values: Iterable[float]) -> str:
    return ", ".join(percent_text(value) for value in values)
