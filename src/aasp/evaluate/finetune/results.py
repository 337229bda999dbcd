"""Results of a fine-tuning: the predictions of all rounds, scores as JSON records, learning curves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aasp.arrays import read_arrays
from aasp.config import fingerprint, to_dict
from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.events.scores import micro_f1
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.over_time import Steps, counted, unpacked
from aasp.evaluate.intervals import Interval, interval
from aasp.evaluate.outcome import predictions, score_records, system_name
from aasp.evaluate.probe import ProbeResult, scores
from aasp.evaluate.records import Record, code_version, write_records
from aasp.evaluate.task import Task
from aasp.training.tracking import read_lines

PREDICTIONS = "predictions.npz"
VALIDATION = "validation.jsonl"
REMEDY = "remove it: the same command tests again"
PROTOCOLS = {"all": "finetune", "frozen-stem": "finetune, frozen stem", "head": "finetune, head only"}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a fine-tuning.

    Attributes:
        exit_code: 0 done; 75 or 130: stopped by a signal, and the same call resumes it.
        labelled: the data without clips that could not be opened; its `missing` lists those, and clips that exist but
            could not be decoded.
        task: its task.
        result: the predictions of the test parts; None if stopped, and in all processes but the first.
        folders: the directory of each round.
    """

    exit_code: int
    labelled: LabelledSet
    task: Task
    result: ProbeResult | None
    folders: list[Path]


def gathered(task: Task, folders: list[Path]) -> tuple[ProbeResult, list[Skipped]]:
    """The rounds' predictions as one result, in the order of the set, and the clips that could not be decoded."""
    rows, probabilities, rounds = [], [], []
    skipped: set[Skipped] = set()
    for number, folder in enumerate(folders):
        file = read_arrays(folder / PREDICTIONS, REMEDY)
        usable = np.isfinite(file["probabilities"]).all(axis=1)
        rows.append(file["rows"][usable])
        probabilities.append(file["probabilities"][usable])
        rounds.append(np.full(usable.sum(), number))
        skipped.update(Skipped(path, reason) for path, reason in file["skipped"].tolist())
    test = np.concatenate(rows)
    order = np.argsort(test)
    groups = None if task.groups is None else task.groups[test[order]]
    result = ProbeResult(
        test=test[order],
        truth=task.y[test[order]],
        probabilities=np.concatenate(probabilities)[order].astype(np.float64),
        rounds=np.concatenate(rounds)[order],
        groups=groups,
        chosen=[None] * len(folders),  # type: ignore[list-item]
    )
    return result, sorted(skipped)


def event_scores(outcome: Outcome) -> dict[str, Interval]:
    """F1 over all events and over all seconds of the test parts, at a threshold of 0.5, with intervals over clips."""
    labelled, result = outcome.labelled, outcome.result
    assert labelled.events is not None and result is not None
    by_row: dict[int, Steps] = {}
    for folder in outcome.folders:
        file = read_arrays(folder / PREDICTIONS, REMEDY)
        pairs = zip(file["rows"].tolist(), unpacked(file), strict=True)
        by_row |= {row: one for row, one in pairs if one is not None}
    steps, events = [by_row[row] for row in result.test], [labelled.events[row] for row in result.test]
    found = {}
    for name, counts_n3K in zip(("segment_F1", "event_F1"), counted(steps, events, labelled.classes), strict=True):
        statistic = lambda weights, counts=counts_n3K: micro_f1(np.tensordot(weights, counts, 1))
        clusters = np.arange(len(steps)) if result.clusters is None else result.clusters
        found[name] = interval([statistic], clusters=clusters, share=True)
    return found


def write_results(path: Path, job: Finetuning, outcome: Outcome) -> dict[str, Interval]:
    """Write the results file of a finished fine-tuning.

    Returns:
        The scores over all parts, with their intervals.
    """
    result, task = outcome.result, outcome.task
    assert result is not None, "an unfinished fine-tuning has no results"
    found = scores([result])
    made = records(job, outcome)
    if outcome.labelled.events is not None:
        of_events = event_scores(outcome)
        found = of_events | found  # the task's own score first
        made += [_whole(made[0], name, one) for name, one in of_events.items()]
    write_records(
        path,
        made,
        model=job.model,
        recipe=to_dict(job.recipe),
        scores={name: one.to_dict() for name, one in found.items()},
        classes=task.classes,
        notes=task.notes,
        missing=[clip._asdict() for clip in outcome.labelled.missing],
        predictions=predictions(outcome.labelled, task, [result]),
    )
    return found


def records(job: Finetuning, outcome: Outcome) -> list[Record]:
    """One record for each part that was tested."""
    recipe, task = job.recipe, outcome.task
    assert outcome.result is not None
    like = Record(
        system=system_name(job.model),
        model=job.model,
        model_hash=job.encoder_hash,
        recipe=recipe.name,
        recipe_hash=fingerprint(recipe, without=("seed",)),
        benchmark=outcome.labelled.task_name,
        protocol=PROTOCOLS[recipe.train] if not job.scratch else "from scratch",
        split="",
        seed=recipe.seed,
        metric="",
        value=0.0,
        clips=0,
        missing=len(outcome.labelled.missing),
        version=code_version(),
    )
    details = [
        {
            "validation": history(folder),
            "minutes": round(minutes(folder), 2),
            "trained_on": {"train": len(round_.train), "valid": len(round_.valid)},
        }
        for round_, folder in zip(task.rounds, outcome.folders, strict=True)
    ]
    return score_records(like, task, [outcome.result], [details])


def _whole(like: Record, metric: str, found: Interval) -> Record:
    """The record of a score over all parts together."""
    more = dict(split="test", metric=metric, value=found.estimate, clips=found.clips, low=found.low, high=found.high)
    return replace(like, details={}, **more)  # type: ignore[arg-type]


def minutes(folder: Path) -> float:
    """Time of a run's steps in minutes, over all its starts; without scoring and checkpoints."""
    return _log(folder)[-1]["seconds"] / 60


def learning(folder: Path) -> list[dict[str, float | None]]:
    """The training loss and the validation score of a run by step."""
    loss = {line["step"]: line["loss"] for line in _log(folder)}
    score = {line["step"]: line["score"] for line in history(folder)}
    steps = sorted(loss.keys() | score.keys())
    return [{"step": step, "train_loss": loss.get(step), "valid_score": score.get(step)} for step in steps]


def history(run: Path) -> list[dict[str, Any]]:
    """All validations of a run so far: step, score, loss, and whether it was the best until then."""
    return read_lines(run / VALIDATION)


def _log(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / "metrics.jsonl")
