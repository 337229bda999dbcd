"""A finished fine-tuning as JSON: a record of each part's score, and what was predicted of every clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aasp.config import fingerprint, to_dict
from aasp.evaluate.finetune.request import Finetuning
from aasp.evaluate.finetune.run import Outcome
from aasp.evaluate.finetune.validation import history
from aasp.evaluate.intervals import Interval
from aasp.evaluate.outcome import predictions, score_records, system_name
from aasp.evaluate.probe import scores
from aasp.evaluate.records import Record, code_version, write_records

PROTOCOLS = {"all": "finetune", "frozen-stem": "finetune, frozen stem", "head": "finetune, head only"}


def write_results(path: Path, asked: Finetuning, outcome: Outcome) -> dict[str, Interval]:
    """Write the results file of a finished fine-tuning.

    Returns:
        The scores over all parts, with their intervals.
    """
    result, task = outcome.result, outcome.task
    assert result is not None, "a fine-tuning that was stopped has no results"
    found = scores([result])
    write_records(
        path,
        records(asked, outcome),
        model=asked.model,
        recipe=to_dict(asked.recipe),
        scores={name: one.to_dict() for name, one in found.items()},
        classes=task.classes,
        notes=task.notes,
        missing=[clip._asdict() for clip in outcome.labelled.missing],
        predictions=predictions(outcome.labelled, task, [result]),
    )
    return found


def records(asked: Finetuning, outcome: Outcome) -> list[Record]:
    """One record for each part that was tested."""
    recipe, task = asked.recipe, outcome.task
    assert outcome.result is not None
    like = Record(
        system=system_name(asked.model),
        model=asked.model,
        model_hash=asked.encoder_hash,
        recipe=recipe.name,
        recipe_hash=fingerprint(recipe, without=("seed",)),
        benchmark=outcome.labelled.name,
        protocol=PROTOCOLS[recipe.train] if not asked.scratch else "from scratch",
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


def minutes(folder: Path) -> float:
    """Minutes that a run has trained, scoring included, over all its starts."""
    return _log(folder)[-1]["seconds"] / 60


def learning(folder: Path) -> list[dict[str, float | None]]:
    """The training loss and the validation score of a run by step."""
    loss = {line["step"]: line["loss"] for line in _log(folder)}
    score = {line["step"]: line["score"] for line in history(folder)}
    steps = sorted(loss.keys() | score.keys())
    return [{"step": step, "train_loss": loss.get(step), "valid_score": score.get(step)} for step in steps]


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
