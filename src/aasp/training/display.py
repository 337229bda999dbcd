"""What a person sees while a run goes on: a live bar on a terminal, a plain line at every log step elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as ``1:02:03`` or ``2:03``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Display:
    """Shows step, losses, clips per second, hours of audio seen and the time left.

    Args:
        steps: how many the run has in all.
        step: how many are done already.
        name: what is running.
        quiet: show nothing (processes other than the first).
    """

    def __init__(self, steps: int, step: int, *, name: str, quiet: bool = False) -> None:
        self._steps, self._first, self._began = steps, step, time.perf_counter()
        self._numbers = "starting"
        self._console = Console(highlight=False, quiet=quiet)
        self._live = self._console.is_terminal and not quiet
        tail = TextColumn("{task.fields[tail]}")
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), tail)
        self._bar = Progress(*columns, console=self._console, disable=not self._live)
        self._task = self._bar.add_task(name, total=steps, completed=step, tail=self._numbers)

    def advance(self, step: int) -> None:
        """`step` steps are done; costs no look at the device."""
        if self._live:
            self._bar.update(self._task, completed=step, tail=f"{self._numbers} · {self._left(step)} left")

    def show(self, step: int, metrics: dict[str, float]) -> None:
        """Show a log step's numbers."""
        losses = {name.removeprefix("losses/"): value for name, value in metrics.items() if name.startswith("losses/")}
        parts = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._numbers = (
            f"loss {metrics['loss']:.4f}{f' ({parts})' if parts else ''}"
            f" · {metrics['clips_per_second']:.1f} clips/s · {metrics['hours_seen']:.2f} h seen"
        )
        if not self._live:
            self.say(f"step {step}/{self._steps} · {self._numbers} · {self._left(step)} left")
        self.advance(step)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, soft_wrap=True, markup=False)

    def _left(self, step: int) -> str:
        done = step - self._first
        elapsed = time.perf_counter() - self._began
        return duration(elapsed / done * (self._steps - step)) if done else "?"

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
