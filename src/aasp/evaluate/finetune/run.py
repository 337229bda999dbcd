"""From an encoder and a labelled set to a classifier and its scores: what `aasp finetune` calls.

A set with folds is trained once a fold, each in a folder of its own under the run, and scored on all of them; what is
finished is never done twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.finetune.data import measured
from aasp.evaluate.finetune.request import Finetuning
from aasp.evaluate.finetune.round import PREDICTIONS, train_round
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.task import Task
from aasp.training import engine
from aasp.training.loop import Settings
from aasp.training.precision import Precision, settle
from aasp.training.run import Run, check_run


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        exit_code: 0 done; 75 or 130: a signal asked to stop, and the same call goes on.
        labelled: the data without what could not be opened; its `missing` names that, and clips that are there but
            could not be decoded.
        task: what was asked of it.
        result: the predictions of the test parts; None where it was stopped, and in all processes but the first.
        folders: the directory of each round.
    """

    exit_code: int
    labelled: LabelledSet
    task: Task
    result: ProbeResult | None
    folders: list[Path]


def finetune(
    asked: Finetuning,
    out: str | Path,
    *,
    resume: str = "auto",
    workers: int = 2,
    precision: Precision = "auto",
    log_every: int = 50,
) -> Outcome:
    """Fine-tune, round by round; the best on the valid part is scored on the test part, whole clips.

    Args:
        asked: model, data, recipe.
        out: the directory: new, empty, or holding this very fine-tuning. A single round's classifier is in `model/`,
            the folds' are in `fold-<name>/model/`.
        resume: ``auto`` goes on with what `out` holds, ``never`` wants a new directory.
        workers: threads that decode audio.
        precision: of the forward pass in training; scores are computed in fp32.
        log_every: steps between log lines.

    Raises:
        AaspError: bad data or settings, or `out` holds something else; training broke down (`TrainingStopped`).
        OSError: the disk is full; the last checkpoint is kept.
    """
    machine = engine.accelerator()
    labelled, seconds = measured(asked.labelled)
    asked = replace(asked, labelled=labelled)
    task = Task.of(labelled, choose="held_out", seed=asked.recipe.seed)
    folders = _folders(Path(out), task)
    for folder, round_ in zip(folders, task.rounds, strict=True):
        check_run(folder, asked.document(round_), resume)
    settings = Settings(
        name=asked.recipe.name,
        clip=asked.recipe.optimizer.clip,
        betas=asked.recipe.optimizer.betas,
        log_every=log_every,
        checkpoint_every=asked.recipe.validate_every,
        keep=1,
        precision=settle(precision, machine, Run(folders[0]).environment),
    )
    for folder, round_ in zip(folders, task.rounds, strict=True):
        exit_code = train_round(asked, task, round_, seconds, folder, settings, machine, resume, workers)
        if exit_code:
            return Outcome(exit_code, labelled, task, None, folders)
    machine.wait_for_everyone()
    if not machine.is_main_process:
        return Outcome(0, labelled, task, None, folders)
    result, undecoded = _gathered(task, folders)
    missing = [*labelled.missing, *undecoded]
    return Outcome(0, replace(labelled, missing=missing), task, result, folders)


def _folders(out: Path, task: Task) -> list[Path]:
    """The directory of each round: the run itself where there is one only."""
    return [out] if len(task.rounds) == 1 else [out / f"fold-{round_.name}" for round_ in task.rounds]


def _gathered(task: Task, folders: list[Path]) -> tuple[ProbeResult, list[Skipped]]:
    """The rounds' predictions as one result, in the order of the set, and the clips that could not be decoded."""
    rows, probabilities, rounds = [], [], []
    skipped: set[Skipped] = set()
    for number, folder in enumerate(folders):
        with np.load(folder / PREDICTIONS, allow_pickle=False) as file:
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
