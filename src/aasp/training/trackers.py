"""Trackers that show a run's metrics, in addition to ``metrics.jsonl``: TensorBoard, Weights & Biases, Trackio, MLflow.

All use accelerate's trackers. A tracker never stops a training: a failed tracker is reported once and dropped, and
``metrics.jsonl`` has everything. ``trackers.json`` stores the ID of the run in each tracker, so that a resumed training
continues it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from accelerate.tracking import GeneralTracker, MLflowTracker, TrackioTracker, WandBTracker

from aasp.config import flat
from aasp.errors import AaspError
from aasp.files import atomic_write
from aasp.training.events_file import EventsFile

Name = Literal["tensorboard", "wandb", "trackio", "mlflow"]
End = Literal["finished", "stopped", "failed"]

PROJECT = "aasp"
IDS = "trackers.json"
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow"}


def check_installed(names: Sequence[str]) -> None:
    """Check that trackers can be used, before anything is written.

    Raises:
        AaspError: there is no such tracker, or it is not installed.
    """
    for name in names:
        if name not in PACKAGES:
            raise AaspError(f"--track {name}: no such tracker; choose from {', '.join(PACKAGES)}")
        if importlib.util.find_spec(name) is None:
            raise AaspError(f"--track {name}: it is not installed; pip install {PACKAGES[name]}, or leave it out")


class Trackers:
    """The trackers of one run.

    Args:
        names: the trackers to use.
        run: the run's directory.
        step: the step that the run starts or resumes from.
        config: the run's recipe, JSON values.
    """

    def __init__(self, names: Sequence[Name], run: Path, step: int, config: Mapping[str, Any]) -> None:
        self._run, self._step = run, step
        self._open: dict[str, GeneralTracker] = {}
        try:
            self._ids: dict[str, str] = json.loads((run / IDS).read_text())
        except (OSError, ValueError):
            self._ids = {}
        begin: dict[str, Callable[[], GeneralTracker]] = {
            "tensorboard": self._tensorboard,
            "wandb": self._wandb,
            "trackio": self._trackio,
            "mlflow": self._mlflow,
        }
        values = {name: value if isinstance(value, int | float) else str(value) for name, value in flat(config).items()}
        for name in dict.fromkeys(names):
            self._try(name, self._begin, name, begin[name])
        for started, tracker in list(self._open.items()):
            if isinstance(tracker, EventsFile):  # accelerate would create a new folder of events for each start
                if not step:
                    self._try(started, tracker.text, "recipe", f"```\n{json.dumps(config, indent=1)}\n```")
            elif started != "mlflow" or not step:  # its parameters can't be written twice
                self._try(started, tracker.store_init_configuration, values)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show one step's metrics."""
        for name, tracker in list(self._open.items()):
            self._try(name, tracker.log, dict(metrics), step)

    def finish(self, end: End) -> None:
        """Report how the run ended: finished, stopped before its last step, or failed."""
        for name, tracker in list(self._open.items()):
            self._try(name, _finish, tracker, end)
        self._open.clear()

    def _begin(self, name: str, begin: Callable[[], GeneralTracker]) -> None:
        self._open[name] = begin()

    def _tensorboard(self) -> EventsFile:
        return _started(EventsFile(self._run / "tensorboard", self._step))

    def _wandb(self) -> WandBTracker:
        options = {"id": self._id("wandb"), "name": self._run.name, "resume": "allow", "dir": str(self._run)}
        try:
            return _started(WandBTracker(PROJECT, **options))
        except Exception as error:  # nobody is logged in, or there is no network
            text = f"kept offline in {self._run / 'wandb'}, upload it with `wandb sync`"
            print(f"tracker wandb: {_plain(error)}; {text}", file=sys.stderr)
            return _started(WandBTracker(PROJECT, **options, mode="offline"))

    def _trackio(self) -> TrackioTracker:
        return _started(TrackioTracker(PROJECT, name=self._id("trackio"), resume="allow", embed=False))

    def _mlflow(self) -> MLflowTracker:
        tracker = _started(MLflowTracker(PROJECT, run_id=self._ids.get("mlflow"), run_name=self._run.name))
        self._keep("mlflow", tracker.active_run.info.run_id)
        return tracker

    def _id(self, name: str) -> str:
        """The run's ID in a tracker: the stored one, or a new unique one."""
        return self._keep(name, self._ids.get(name) or f"{self._run.name}-{uuid.uuid4().hex[:8]}")

    def _keep(self, name: str, run: str) -> str:
        if self._ids.get(name) != run:
            self._ids[name] = run
            with atomic_write(self._run / IDS) as beside:
                beside.write_text(json.dumps(self._ids, indent=1) + "\n")
        return run

    def _try(self, name: str, do: Callable[..., object], *given: object) -> None:
        try:
            do(*given)
        except Exception as error:  # a service may raise anything
            self._open.pop(name, None)
            text = f"continuing without it, {self._run / 'metrics.jsonl'} has everything"
            print(f"tracker {name}: {_plain(error)}; {text}", file=sys.stderr)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _started(tracker: Any) -> Any:
    tracker.start()
    return tracker


def _finish(tracker: GeneralTracker, end: End) -> None:
    if isinstance(tracker, WandBTracker):
        if end == "stopped":
            tracker.run.mark_preempting()
        tracker.run.finish(exit_code={"finished": 0, "stopped": 75, "failed": 1}[end])
    elif isinstance(tracker, MLflowTracker):
        import mlflow

        mlflow.end_run({"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[end])
    else:
        tracker.finish()
