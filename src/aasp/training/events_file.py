"""TensorBoard's event file of a run, written at once: its own writer works in a thread, where a full disk has no one
who could tell of it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path


class EventsFile:
    """Scalars by step.

    Args:
        folder: it is made; each start of a run has a file of its own there.
        step: what earlier files hold beyond this step is to be forgotten.

    Raises:
        OSError: the disk is full, or the folder can't be written; so do all others.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time():010.0f}.{platform.node()}.{os.getpid()}"
        self._file = self._path.open("ab", buffering=0)
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        if step:
            self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write one step's scalars, by name."""
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(step=step, summary=self._summary(value=values))

    def close(self) -> None:
        self._file.close()

    def _write(self, **content: object) -> None:
        try:
            self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
