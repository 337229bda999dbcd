"""Progress display of a run: a live bar on a terminal, a plain line at every log step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, RenderableType
from rich.text import Text

from aasp.progress import ProgressBar, time_left


class _Bar(ProgressBar):
    """A progress bar with a line of metrics below it."""

    numbers = "starting"

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.numbers)


class Display:
    """Shows step, losses, clips per second, hours of audio seen and the time left.

    Args:
        steps: total steps of the run.
        step: steps already done.
        name: name of the run.
        quiet: show nothing (processes other than the first).
    """

    def __init__(self, steps: int, step: int, *, name: str, quiet: bool = False) -> None:
        self._steps, self._first, self._began = steps, step, time.perf_counter()
        self._console = Console(highlight=False, quiet=quiet)
        self._live = self._console.is_terminal and not quiet
        self._bar = _Bar(self._console, disable=not self._live)
        self._task = self._bar.add_task(name, total=steps, completed=step, begun=step)

    def advance(self, step: int) -> None:
        """Show that `step` steps are done, without synchronising with the device."""
        if self._live:
            self._bar.update(self._task, completed=step, begun=step)

    def show(self, step: int, metrics: dict[str, float]) -> None:
        """Show the metrics of a log step."""
        losses = {name.removeprefix("losses/"): value for name, value in metrics.items() if name.startswith("losses/")}
        parts = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._bar.numbers = (
            f"loss {metrics['loss']:.4f}{f' ({parts})' if parts else ''}"
            f" · {metrics['clips_per_second']:.1f} clips/s · {metrics['hours_seen']:.2f} h seen"
        )
        if not self._live:
            left = time_left(time.perf_counter() - self._began, step - self._first, self._steps - self._first)
            line = f"step {step}/{self._steps} · {self._bar.numbers} · {left}"
            self._console.print(line, soft_wrap=True, markup=False)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
