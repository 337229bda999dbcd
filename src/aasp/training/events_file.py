"""TensorBoard's event file of a run, written synchronously: TensorBoard's own writer runs in a thread, whose errors (a
full disk) would not reach the caller.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker


class EventsFile(GeneralTracker):
    """Scalars by step, as one of accelerate's trackers.

    Args:
        folder: created if missing; each start of a run writes a new file in it.
        step: entries of earlier files after this step are to be ignored.
    """

    name = "tensorboard"
    requires_logging_directory = True

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__()
        self._folder, self._step = folder, step

    @property
    def tracker(self) -> EventsFile:
        return self

    def start(self) -> None:
        """Open a new file.

        Raises:
            OSError: the disk is full, or the folder can't be written; the other methods raise it too.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / f"events.out.tfevents.{time.time():010.0f}.{platform.node()}.{os.getpid()}"
        self._file = self._path.open("ab", buffering=0)
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        if self._step:
            self._write(step=self._step + 1, session_log=SessionLog(status=SessionLog.START))

    def text(self, name: str, markdown: str) -> None:
        """Write a text, at step 0."""
        from torch.utils.tensorboard.summary import text

        self._write(step=0, summary=text(name, markdown))

    def log(self, values: Mapping[str, float], step: int | None = None, **_: Any) -> None:  # type: ignore[override]
        """Write one step's scalars, by name."""
        scalars = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=self._summary(value=scalars))

    def finish(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **content: object) -> None:
        try:
            self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
