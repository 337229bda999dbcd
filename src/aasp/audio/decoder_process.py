"""Sound files decoded in separate processes: a decoder that hangs or crashes costs one file, not the run.

A process is started for the first such file, decodes one file after another, and is killed and replaced if one takes
too long or crashes it. It has a memory limit and a low priority. It is not a sandbox: it has all rights of its
user.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import aasp
from aasp.audio import headers
from aasp.audio.channels import note_cancelled
from aasp.audio.error import AudioError
from aasp.audio.formats import UNCOMPRESSED, family
from aasp.audio.priority import NICENESS
from aasp.errors import AaspError

LIMIT_SECONDS, BYTES_A_SECOND = 60.0, 1e6
"""Time limit for a file: a minute, plus a second per megabyte. A slow core needs a tenth of that."""
START_SECONDS = 120.0
AT_ONCE = max(2, os.cpu_count() or 1)
"""Maximum number of processes."""
_until: contextvars.ContextVar[float | None] = contextvars.ContextVar("until", default=None)


class _Ended(Exception):
    """The process has exited, or did not answer in time; `hung` says which."""

    def __init__(self, hung: bool) -> None:
        self.hung = hung


def is_suspect(path: str) -> bool:
    """Whether a codec has to decode it: everything except uncompressed samples whose header states their length.

    Raises:
        AudioError: it is not a sound file.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise AudioError(path, "is not a file", "name a sound file")  # opening a pipe would block forever
    kind = UNCOMPRESSED.get(family(path).name)
    if kind is None:
        return True
    with open(path, "rb") as file:
        found = headers.samples(file, kind)
    return isinstance(found, headers.Samples) and not (found.plain and found.promised is not None)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit all reads inside, in this thread, to `seconds` in total, however long a single file may take elsewhere."""
    before = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(before)


def call(what: str, path: str, **how: Any) -> Any:
    """The result of a function of `aasp.audio.reading`, called in another process.

    Args:
        what: the function's name.
        path: the file.
        how: its other arguments.

    Raises:
        AudioError: as the function does; or the file takes too long or too much memory, or crashes the decoder.
        AaspError: as the function does; or no process can be started.
    """
    limit, until = LIMIT_SECONDS + os.path.getsize(path) / BYTES_A_SECOND, _until.get()
    for last in (False, True):
        if until is not None:
            limit = max(0.0, min(limit, until - time.monotonic()))
        try:
            return _call(what, path, how, limit)
        except _Ended as end:
            if end.hung:
                remedy = "leave it out, or convert it to FLAC with the program that made it"
                raise AudioError(path, f"its decoder did not end within {limit:.0f} s", remedy) from None
            if last:  # a single crash may come from an earlier file, or from a kill
                remedy = "leave it out, or convert it to FLAC with the program that made it"
                raise AudioError(path, "its decoder crashed, twice", remedy) from None
    raise AssertionError


def _call(what: str, path: str, how: dict[str, Any], limit: float) -> Any:
    there = os.path.abspath(path)  # the process keeps its working directory, ours may have changed
    with _pool.room:
        process = _pool.acquire()
        try:
            answer = process.request([what, there, how], limit)
        except BaseException:
            process.end()
            raise
        _pool.idle.append(process)
    kind, value = answer
    if kind == "audio error":
        named, reason, remedy = (text.replace(there, path) for text in value)
        raise AudioError(named, reason, remedy)
    if kind == "error":
        raise AaspError(value.replace(there, path))
    return value


class _Process:
    """A decoding process; `aasp.audio.worker` runs in it."""

    def __init__(self) -> None:
        root = str(Path(aasp.__file__).parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        niceness = min(19, os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "aasp.audio.worker", str(niceness)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # a Ctrl-C for us lets it finish the file
            )
        except OSError as error:
            note = f"no process for decoding sound can be started ({error.strerror})"
            raise AaspError(f"{note}; free memory or processes") from None
        assert self._child.stdin is not None and self._child.stdout is not None
        self._requests, self._answers = self._child.stdin, self._child.stdout
        with contextlib.suppress(AttributeError, OSError):  # Linux: the pipe holds ten seconds of sound, not one
            fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        try:
            self._read(bytearray(1), time.monotonic() + START_SECONDS)
        except _Ended:
            self.end()
            note = "the process for decoding sound does not start"
            raise AaspError(f"{note}; `{sys.executable} -m aasp.audio.worker 0` says why") from None

    def request(self, request: list[Any], limit: float) -> tuple[str, Any]:
        """(kind, value) of an answer, within `limit` seconds.

        Raises:
            _Ended: there is no answer.
        """
        until = time.monotonic() + limit
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
        except OSError:
            raise _Ended(hung=False) from None
        length = bytearray(4)
        self._read(length, until)
        head = bytearray(struct.unpack("<I", length)[0])
        self._read(head, until)
        kind, value, cancelled = json.loads(head)
        for path, decibels in cancelled.items():
            note_cancelled(path, decibels)
        if kind == "samples":
            value = np.empty(value, dtype=np.float32)
            if value.size:
                self._read(value.reshape(-1).view(np.uint8), until)
        return kind, value

    def _read(self, into: Any, until: float) -> None:
        view = memoryview(into)
        while len(view):
            left = until - time.monotonic()
            if left <= 0 or not self._poll.poll(1000 * left):
                raise _Ended(hung=True)
            count = os.readv(self._answers.fileno(), [view])
            if not count:
                raise _Ended(hung=False)
            view = view[count:]

    def end(self) -> None:
        """Kill it."""
        self._child.kill()
        for pipe in (self._requests, self._answers):
            pipe.close()
        self._child.wait()


class _Pool:
    """Idle processes; the most recently used is taken first: it has its file cached."""

    def __init__(self) -> None:
        self.room = threading.BoundedSemaphore(AT_ONCE)
        self.idle: list[_Process] = []

    def acquire(self) -> _Process:
        try:
            return self.idle.pop()
        except IndexError:
            return _Process()

    def end(self) -> None:
        while self.idle:
            self.idle.pop().end()


_pool = _Pool()


def _renew_pool() -> None:
    """After a fork, start with an empty pool: the processes belong to the parent, which still uses them."""
    global _pool
    _pool = _Pool()


os.register_at_fork(after_in_child=_renew_pool)
atexit.register(lambda: _pool.end())
