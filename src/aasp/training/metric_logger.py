"""Logs each log step to the metrics file, the trackers and the display, with the throughput of the run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

import torch
from accelerate import Accelerator

from aasp.training.display import Display
from aasp.training.run import Run
from aasp.training.snapshot import Progress
from aasp.training.trackers import Name, Trackers
from aasp.training.tracking import Tracker


class MetricLogger:
    """Logs a run's metrics; only the first process writes and shows them.

    Args:
        run: the run.
        progress: the progress of the run; read at every log step.
        steps: total steps of the run.
        machine: processes and devices.
        name: name of the run in the display.
        track: trackers to show the run in.
    """

    def __init__(
        self, run: Run, progress: Progress, steps: int, machine: Accelerator, name: str, track: Sequence[Name]
    ) -> None:
        self._progress, self._machine, self._steps = progress, machine, steps
        self._tracker = self._trackers = None
        if machine.is_main_process:
            self._tracker = Tracker(run.path, progress.step)
            self._trackers = Trackers(track, run.path, progress.step, json.loads(run.recipe.read_text()))
        self._display = Display(steps, progress.step, name=name, quiet=not machine.is_main_process)
        self._mark()

    def _mark(self) -> None:
        self._clips, self._elapsed, self._waited = self._progress.clips, self._progress.elapsed, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time spent in this context as waiting for data."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def advance(self) -> None:
        """Show that a step is done."""
        self._display.advance(self._progress.step)

    def log(self, measured: Mapping[str, float]) -> None:
        """Write and show a log step's metrics, with throughput and totals. Every process must call it."""
        progress, window = self._progress, self._progress.elapsed - self._elapsed
        clips, all_clips, audio_seconds = self._total(
            progress.clips - self._clips, progress.clips, progress.audio_seconds
        )
        metrics = {
            **measured,
            "clips_per_second": clips / window,
            "waiting_share": self._waited / window,
            "clips_seen": all_clips,
            "hours_seen": audio_seconds / 3600,
            "seconds": progress.elapsed,
        }
        self._mark()
        if self._tracker is not None and self._trackers is not None:
            self._tracker.log(progress.step, metrics)
            self._trackers.log(progress.step, metrics)
        self._display.show(progress.step, metrics)

    def sync(self) -> None:
        """Flush the metrics to disk, so that they survive a power cut."""
        if self._tracker is not None:
            self._tracker.sync()

    def _total(self, *values: float) -> list[float]:
        if self._machine.num_processes == 1:
            return list(values)
        own = torch.tensor(values, dtype=torch.float64, device=self._machine.device)
        return self._machine.reduce(own, "sum").tolist()

    def __enter__(self) -> MetricLogger:
        self._open = ExitStack()
        if self._tracker is not None:
            self._open.enter_context(self._tracker)
        self._open.enter_context(self._display)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._trackers is not None:
            done = self._progress.step >= self._steps
            self._trackers.finish("failed" if error is not None else "finished" if done else "stopped")
        self._open.close()
