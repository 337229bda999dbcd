"""What a run writes down: ``metrics.jsonl`` always, TensorBoard event files beside it.

A line is one JSON object with ``step`` and flat names (``loss``, ``losses/frame``, ``diagnostics/rank``). After a
resume both records continue from the checkpoint's step: what a killed run logged beyond it is taken back.
"""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from types import TracebackType

from aasp.training.events_file import EventsFile


def read_metrics(run: str | Path) -> list[dict[str, float]]:
    """The lines of a run's ``metrics.jsonl`` as dicts; a last line torn by a crash is left out."""
    path = Path(run) / "metrics.jsonl"
    return [line for _, line in _lines(path)] if path.exists() else []


class Tracker:
    """Appends to ``metrics.jsonl`` and TensorBoard; a context that closes both.

    Args:
        run: the run's directory.
        step: the step that the run starts or goes on from; lines beyond it are cut off.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / "metrics.jsonl"
        cut_back(self._path, step)
        self._file = self._path.open("ab", buffering=0)  # nothing is kept back that a full disk would refuse at the end
        self._board = EventsFile(run / "tensorboard", step)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write one step's metrics; a number that is not finite becomes null in the file.

        Raises:
            OSError: the disk is full.
        """
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = (json.dumps({"step": step, **finite}) + "\n").encode()
        try:
            whole = self._file.write(line) == len(line)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._board.add(step, metrics)

    def sync(self) -> None:
        """Make all that was logged survive a power cut: a checkpoint must not know more than its record."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()


def cut_back(path: Path, step: int) -> None:
    """Drop the lines after `step` and a torn last line; a missing file is fine."""
    if path.exists():
        end = max((end for end, line in _lines(path) if line["step"] <= step), default=0)
        os.truncate(path, end)


def _lines(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Each whole line, with the byte offset where it ends; nothing after the first that is torn."""
    lines, end = [], 0
    for raw in path.read_bytes().splitlines(keepends=True):
        end += len(raw)
        try:
            line = json.loads(raw)
            line["step"]
        except (ValueError, KeyError, TypeError):
            break
        if not raw.endswith(b"\n"):
            break
        lines.append((end, line))
    return lines
