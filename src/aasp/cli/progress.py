"""A progress bar for one part of a command: on stderr, removed when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from aasp.progress import ProgressBar


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with (done, total)."""
    # Output printed meanwhile goes above the bar; in a pipe it must go to stdout unchanged.
    with ProgressBar(Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
