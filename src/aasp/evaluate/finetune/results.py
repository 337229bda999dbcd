"""A finished fine-tuning as JSON: a record of each part's score, and what was predicted of every clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aasp.audio.sounds import describe
from aasp.config import fingerprint, to_dict
from aasp.evaluate.finetune.run import Finetuning, Outcome
from aasp.evaluate.finetune.validation import history
from aasp.evaluate.intervals import Interval
from aasp.evaluate.probe import scores
from aasp.evaluate.records import Record, code_version, write_records
from aasp.model.weights import model_hash


def write_results(path: Path, asked: Finetuning, outcome: Outcome) -> dict[str, Interval]:
    """Write the results file of a finished fine-tuning.

    Returns:
        The scores over all parts, with their intervals.
    """
    result, task = outcome.result, outcome.task
    assert result is not None, "a fine-tuning that was stopped has no results"
    found = scores([result])
    named = lambda y: [task.classes[k] for k in y.nonzero()[0]] if task.multilabel else task.classes[y]
    write_records(
        path,
        records(asked, outcome),
        model=asked.model,
        recipe=to_dict(asked.recipe),
        scores={name: one.to_dict() for name, one in found.items()},
        classes=task.classes,
        notes=task.notes,
        missing=[clip._asdict() for clip in outcome.labelled.missing],
        predictions=[
            {
                "clip": describe(outcome.labelled.sounds[row]),
                "group": None if result.groups is None else str(result.groups[place]),
                "part": task.rounds[result.rounds[place]].name,
                "truth": named(result.truth[place]),
                "predicted": named(result.predicted[place]),
            }
            for place, row in enumerate(result.test)
        ],
    )
    return found


def records(asked: Finetuning, outcome: Outcome) -> list[Record]:
    """One record for each part that was tested."""
    result, recipe = outcome.result, asked.recipe
    assert result is not None
    weights = model_hash(asked.encoder)
    made: list[Record] = []
    for number, (round_, folder, value) in enumerate(
        zip(outcome.task.rounds, outcome.folders, result.round_scores(), strict=True)
    ):
        details: dict[str, Any] = {
            "validation": history(folder),
            "minutes": round(minutes(folder), 2),
            "train": recipe.train,
            "clips": {"train": len(round_.train), "valid": len(round_.valid), "test": len(round_.test)},
        }
        made.append(
            Record(
                system=Path(asked.model).name,
                model=asked.model,
                model_hash=fingerprint(asked.encoder.config) if asked.scratch else weights,
                recipe=recipe.name,
                recipe_hash=fingerprint(recipe, without=("seed",)),
                benchmark=outcome.labelled.name,
                protocol="from scratch" if asked.scratch else "finetune",
                split=round_.name,
                seed=recipe.seed,
                metric="mAP" if outcome.task.multilabel else "accuracy",
                value=value,
                clips=int((result.rounds == number).sum()),
                missing=len(outcome.labelled.missing),
                version=code_version(),
                details=details,
            )
        )
    return made


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
