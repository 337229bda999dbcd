"""`aasp watch`: follow a run to its end, from another terminal or into a pipe."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from aasp.cli.arguments import parse
from aasp.errors import AaspError, one_line

if TYPE_CHECKING:
    from aasp.training.display import Display
    from aasp.training.status import Status

EXIT_CODES = {"finished": 0, "stopped": 75, "failed": 1, "damaged": 1}


@dataclass(frozen=True)
class Watch:
    """Follow a run: a bar on a terminal, a line at every log step elsewhere. It only reads the run's folder and does
    not disturb it.

    Ends with the run, with exit code 0 if it is finished, 75 if it was stopped and can be resumed, 1 if it failed. If
    the run is not running, it says so at once.
    """

    run: tyro.conf.Positional[Path]
    """Folder of a run."""
    every: float = 2.0
    """Seconds between two updates."""


def run(argv: list[str]) -> int:
    arguments = parse(Watch, argv, prog="aasp watch")
    if not arguments.every > 0:
        raise AaspError(f"--every is {arguments.every:g}; give a positive number of seconds")
    from aasp.training.display import Display
    from aasp.training.status import status_of

    path = arguments.run
    status = status_of(path) if path.is_dir() else None
    while status is not None and status.state == "running" and status.steps is None:  # its recipe is being written
        time.sleep(arguments.every)
        status = status_of(path)
    if status is None:
        raise AaspError(_no_run(path))
    if status.state == "running":
        begun, name = status.step, status.recipe or path.name
        with Display(status.steps or 0, begun, name=name) as display:
            shown = begun - 1
            while status is not None and status.state == "running":
                shown = _show(display, path, shown)
                time.sleep(arguments.every)
                status = status_of(path)
            _show(display, path, shown)
    if status is None:
        raise AaspError(f"the run is gone: {path}; it was removed meanwhile")
    print(one_line(_status_line(status)))
    return EXIT_CODES[status.state]


def _show(display: Display, run: Path, shown: int) -> int:
    """Show what was logged after step `shown`; returns the last step shown."""
    from aasp.training.tracking import last_metrics, read_metrics

    if last_metrics(run)[0].get("step", shown) <= shown:
        return shown
    for line in read_metrics(run):
        if line["step"] > shown:
            numbers = {name: math.nan if value is None else value for name, value in line.items()}
            display.advance(int(line["step"]))
            display.show(int(line["step"]), defaultdict(lambda: math.nan, numbers))
            shown = int(line["step"])
    return shown


def _no_run(path: Path) -> str:
    if not path.is_dir():
        return f"{'not a folder' if path.exists() else 'no such folder'}: {path}; give the folder of a run"
    from aasp.training.status import find_runs

    below = [one.path for one in find_runs(path)]
    if below:
        return f"{path} holds several runs; name one of them, as in `aasp watch {below[0]}`"
    return f"no run: {path}; `aasp runs {path.parent}` lists the runs there"


def _status_line(status: Status) -> str:
    where = f"{status.path}, step {status.step:,} of {'?' if status.steps is None else format(status.steps, ',')}"
    if status.state == "stopped":
        return f"stopped: {where}; the command that started it resumes from its last checkpoint"
    return f"{status.state}: {where}{f': {status.reason}' if status.reason else ''}"
