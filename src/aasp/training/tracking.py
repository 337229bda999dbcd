"""The metrics of a run: ``metrics.jsonl``.

A line is one JSON object with ``step`` and flat names (``loss``, ``losses/frame``, ``diagnostics/rank``). After a
resume the file continues from the checkpoint's step: lines that a killed run logged after it are removed.
"""

from __future__ import annotations

import errno
import json
import math
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from aasp.documents import read_json
from aasp.errors import AaspError

_TAIL = 1 << 16  # bytes; a line has about 1,000


def read_metrics(run: str | Path) -> list[dict[str, float]]:
    """The lines of a run's ``metrics.jsonl`` as dicts; an incomplete last line is left out."""
    return read_lines(Path(run) / "metrics.jsonl")


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON objects with a ``step``, without an incomplete last one; none if there is no file."""
    return [line for _, line in _lines(file)] if file.exists() else []


def read_starts(environment: Path) -> list[dict[str, Any]]:
    """The environment of each start of a run (see `aasp.training.environment`); empty if there is no file.

    Raises:
        AaspError: the file is damaged.
    """
    remedy = "remove it: it only describes earlier starts"
    starts = read_json(environment, remedy) if environment.exists() else []
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise AaspError(f"{environment}: not a list of starts; {remedy}")
    return starts


def last_metrics(run: Path) -> tuple[dict[str, Any], float | None]:
    """The last complete line of a run's ``metrics.jsonl`` and the time of its last change; reads only its end.

    The file may be open for writing in another process. Without such a line, the result is ({}, None).
    """
    try:
        with (run / "metrics.jsonl").open("rb") as file:
            size, written = os.fstat(file.fileno()).st_size, os.fstat(file.fileno()).st_mtime
            file.seek(max(0, size - _TAIL))
            raws = file.read(_TAIL).splitlines(keepends=True)
    except OSError:
        return {}, None
    for raw in reversed(raws):
        if raw.endswith(b"\n"):
            with suppress(ValueError, RecursionError):
                line = json.loads(raw)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    return line, written
    return {}, None


class Tracker:
    """Appends to ``metrics.jsonl``; a context that closes it.

    Args:
        run: the run's directory.
        step: the step that the run starts or resumes from; later lines are removed.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / "metrics.jsonl"
        cut_back(self._path, step)
        self._file = self._path.open("ab", buffering=0)  # unbuffered: a full disk fails at once

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

    def sync(self) -> None:
        """Flush the file to disk: after a power cut, the log must not end before the last checkpoint."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def cut_back(path: Path, step: int) -> None:
    """Remove the lines after `step` and an incomplete last line; the file may be missing."""
    if path.exists():
        end = max((end for end, line in _lines(path) if line["step"] <= step), default=0)
        os.truncate(path, end)


def _lines(path: Path) -> list[tuple[int, dict[str, float]]]:
    """The complete lines before the first damaged one, each with the byte offset of its end."""
    lines, end = [], 0
    for raw in path.read_bytes().splitlines(keepends=True):
        end += len(raw)
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict) or type(line.get("step")) is not int:
            break
        if not raw.endswith(b"\n"):
            break
        lines.append((end, line))
    return lines
