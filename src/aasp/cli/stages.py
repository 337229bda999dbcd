"""The stages of a longer command: bars with the time left on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from aasp.formats import duration_text
from aasp.progress import ProgressBar, time_left

QUIET_SECONDS = 15.0

Show = Callable[[int, int], None]
Bar = Callable[[str], Show]


class Stages:
    """Announces numbered stages and shows the progress of each part.

    Args:
        count: number of stages.
    """

    def __init__(self, count: int) -> None:
        self.console = Console(highlight=False)
        self._count, self._number = count, 0
        self._moved = time.monotonic()

    def announce(self, title: str) -> None:
        """Announce the next stage."""
        self._number, self._moved = self._number + 1, time.monotonic()
        self.console.print(f"[bold]{self._number}/{self._count}[/bold] {title}", soft_wrap=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[Bar]:
        """Announce the next stage; yields a function that names a part and returns one to call with (done, total)."""
        self.announce(title)
        with ProgressBar(self.console, indent="    ") as progress:
            yield lambda what: self._part(progress, what)

    def _part(self, progress: ProgressBar, what: str) -> Show:
        task = progress.add_task(what, total=None)
        began = printed = 0.0

        def show(done: int, total: int) -> None:
            nonlocal began, printed
            now = time.monotonic()
            if not began:  # a part begins when the previous one is done
                began = printed = self._moved
            self._moved = now
            progress.update(task, completed=done, total=total)
            if not self.console.is_terminal and (now - printed > QUIET_SECONDS or done == total):
                printed, elapsed = now, now - began
                tail = time_left(elapsed, done, total) if done < total else f"in {duration_text(round(elapsed))}"
                self.console.print(f"    {what}: {done:,} of {total:,}, {tail}", soft_wrap=True)

        return show
