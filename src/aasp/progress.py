"""The progress bar of every command: the amount done, the total, and the time left."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from aasp.formats import duration_text


class ProgressBar(Progress):
    """A bar on a terminal, nothing elsewhere.

    Args:
        console: where it is drawn.
        indent: text before each bar.
        options: of `rich.progress.Progress`.
    """

    def __init__(self, console: Console, *, indent: str = "", **options: Any) -> None:
        columns = (TextColumn(f"{indent}{{task.description}}"), BarColumn(), MofNCompleteColumn(), _TimeLeft())
        options.setdefault("disable", not console.is_terminal)
        super().__init__(*columns, console=console, **options)


def time_left(elapsed: float, done: int, total: int) -> str:
    """The time left at the mean speed so far, for a line of text."""
    return f"{duration_text(round(elapsed / done * (total - done)))} left" if done else "? left"


class _TimeLeft(ProgressColumn):
    """Time left; a task that resumes an earlier process has the field `begun`, the amount done before."""

    def render(self, task: Task) -> Text:
        elapsed, begun = task.elapsed or 0.0, int(task.fields.get("begun", 0))
        if task.finished:
            return Text(f"in {duration_text(round(elapsed))}")
        return Text(
            "" if task.total is None else time_left(elapsed, int(task.completed) - begun, int(task.total) - begun)
        )
