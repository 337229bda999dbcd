"""Status of runs, read from their folders without torch; also for running, half-written or damaged runs."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from aasp.files import atomic_write, is_locked
from aasp.training.tracking import last_metrics

State = Literal["running", "failed", "damaged", "stopped", "finished"]
Kind = Literal["pretrain", "finetune", "cell"]

FAILURE = "failure.json"
CELL = ("trained.json", "failed.json")
OURS = ("environment.json", "metrics.jsonl", "checkpoints", ".lock")
"""Entries that distinguish a run's folder from other folders with a `recipe.json`."""
NO_RUNS_IN = ("checkpoints", "model", "tensorboard", "stages", "scores")
"""Folders of a run that are not searched for runs."""


@dataclass(frozen=True)
class Status:
    """The status of a run.

    Attributes:
        path: folder of the run.
        kind: the kind of run; a cell is a run of a comparison or an ablation.
        state: running while a process holds the run's lock; stopped if none does and steps remain.
        reason: why it failed, or what is damaged.
        recipe: name of the recipe.
        step, steps: the last step logged or saved, and the total.
        loss, clips_per_second: the last logged values; None if there are none.
        health: the last logged diagnostics by name.
        logged: time of the last log entry, in seconds since 1970.
        checkpoint: name of the last complete checkpoint.
        saved: time when that was written, in seconds since 1970.
        checkpoint_bytes: size of its files.
        bytes: size of all files in the folder.
    """

    path: Path
    kind: Kind
    state: State
    reason: str | None = None
    recipe: str | None = None
    step: int = 0
    steps: int | None = None
    loss: float | None = None
    clips_per_second: float | None = None
    health: Mapping[str, float] = field(default_factory=dict)
    logged: float | None = None
    checkpoint: str | None = None
    saved: float | None = None
    checkpoint_bytes: int = 0
    bytes: int = 0

    @property
    def active(self) -> float:
        """Time of the run's last log entry or checkpoint, in seconds since 1970."""
        return max(self.logged or 0.0, self.saved or 0.0)

    def document(self) -> dict[str, Any]:
        """The status as JSON values."""
        return {**asdict(self), "path": str(self.path)}


def find_runs(folder: Path) -> list[Status]:
    """All runs in a folder and below it: running ones first, then by latest activity.

    Links are not followed; folders that can't be read are skipped.
    """
    found = [status for path in _folders(folder) if (status := status_of(path)) is not None]
    return sorted(found, key=lambda one: (one.state != "running", -one.active, str(one.path)))


def status_of(path: Path) -> Status | None:
    """The status of the run in a folder; None if there is none."""
    locks = [path / ".lock", path / ".taken"]
    running = any(is_locked(lock) for lock in locks)  # first, so that its last writes are read below
    kept = [name for name in OURS if (path / name).exists()]
    recipe, wrong = _object(path / "recipe.json")
    if not kept or (recipe is None and wrong is None and not running):
        return None
    if recipe is not None and not isinstance(recipe.get("steps"), int):
        recipe, wrong = None, "recipe.json has no steps"
    recipe = recipe or {}
    checkpoint, saved = _checkpoint(path)
    kind: Kind = "finetune" if "finetuned" in recipe else "pretrain"
    if path.parent.parent.name == "cells" or any((path / name).exists() for name in CELL):
        kind = "cell"
    metrics, logged = last_metrics(path)
    numbers = {
        name: value for name, value in metrics.items() if isinstance(value, int | float) and math.isfinite(value)
    }
    health = {name: value for name, value in numbers.items() if name.startswith("diagnostics/")}
    steps = recipe["steps"] + _extended(path, checkpoint) if recipe else None
    step = max(int(numbers.get("step", 0)), int(checkpoint.removeprefix("step-")) if checkpoint else 0)
    done = _done(path, kind, steps is not None and step >= steps)
    why = _failure(path)
    state: State = "running" if running else "damaged" if wrong else "finished" if done else "stopped"
    if why and not running and not done:
        state = "failed"
    name = recipe.get("name")
    return Status(
        path,
        kind,
        state,
        reason=why if state == "failed" else wrong if state == "damaged" else None,
        recipe=name if isinstance(name, str) else None,
        step=step,
        steps=steps,
        loss=numbers.get("loss"),
        clips_per_second=numbers.get("clips_per_second"),
        health={name.removeprefix("diagnostics/"): value for name, value in health.items()},
        logged=logged,
        checkpoint=checkpoint,
        saved=saved,
        checkpoint_bytes=_bytes(path / "checkpoints" / checkpoint) if checkpoint else 0,
        bytes=_bytes(path),
    )


def note_failure(run: Path, why: str) -> None:
    """Record why a run failed, for `aasp runs`."""
    with atomic_write(run / FAILURE) as beside:
        beside.write_text(json.dumps({"time": time.time(), "why": why}) + "\n")


def _folders(folder: Path) -> Iterator[Path]:
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if name not in NO_RUNS_IN)
        yield Path(place)


def _object(file: Path) -> tuple[dict[str, Any] | None, str | None]:
    """A file's JSON object and what is wrong with it; both None if there is no file."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, RecursionError) as error:
        return None, f"{file.name} can't be read: {' '.join(str(error).split())}"
    return (value, None) if isinstance(value, dict) else (None, f"{file.name} is not a JSON object")


def _checkpoint(run: Path) -> tuple[str | None, float | None]:
    """The name of the last complete checkpoint, and the time when it was written."""
    try:
        names = [name for name in os.listdir(run / "checkpoints") if re.fullmatch(r"step-\d{8,}", name)]
        last = max(names, key=lambda name: int(name.removeprefix("step-")), default=None)
        return last, (run / "checkpoints" / last / "state.json").stat().st_mtime if last else None
    except OSError:
        return None, None  # there is none, or it is being replaced


def _extended(run: Path, checkpoint: str | None) -> int:
    """Steps added to the run beyond those of its recipe."""
    state = (_object(run / "checkpoints" / checkpoint / "state.json")[0] if checkpoint else None) or {}
    history = state.get("history")
    more = history.get("extended") if isinstance(history, dict) else None
    try:
        return sum(int(one["steps"]) for one in more or ())
    except (KeyError, TypeError, ValueError):
        return 0


def _done(run: Path, kind: Kind, all_steps: bool) -> bool:
    if kind == "cell":
        return (run / CELL[0]).exists()
    return all_steps and (run / ("predictions.npz" if kind == "finetune" else "model")).exists()


def _failure(run: Path) -> str | None:
    for name in (FAILURE, CELL[1]):
        failure = _object(run / name)[0]
        if failure is not None:
            return " ".join(str(failure.get("why", "unknown")).split())
    return None


def _bytes(folder: Path) -> int:
    """The total size of all files; files that disappear meanwhile are ignored."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            total += status.st_size
    return total
