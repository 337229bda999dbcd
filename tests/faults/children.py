"""Commands of ours in processes that can be killed, starved or slowed: forked from one that has imported everything.

A fault strikes at a process's k-th operation on files below a folder (an open, a rename, a removal, ...), as Python's
audit hooks see them: no product code knows of it.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

WRITING = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree", "shutil.copyfile"}
REMOVING = {"os.remove", "os.rmdir", "shutil.rmtree"}
IMPORTED = """
    tensorboard.summary.writer.record_writer torch._dynamo aasp.cli.arguments aasp.cli.pretrain aasp.cli.finetune
    aasp.cli.embed aasp.cli.index aasp.cli.scan aasp.cli.compare aasp.pretrain.recipes aasp.pretrain.run
    aasp.evaluate.finetune.run aasp.evaluate.stream aasp.index.building aasp.compare.page aasp.compare.training
    aasp.report.templates
"""
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(IMPORTED.split())


@dataclass(frozen=True)
class Fault:
    """A fault in a process.

    Attributes:
        kind: "kill", the name of an error ("ENOSPC"), "late": each operation takes so much longer, or "gone": `what`
            is moved away.
        below: the folder whose files are meant.
        at: the operation that is struck, counted from 1; from there on all are.
        reading: whether opening a file to read it counts.
        seconds: how late.
        what: a folder.
    """

    kind: str
    below: Path
    at: int = 1
    reading: bool = False
    seconds: float = 0.0
    what: Path | None = None

    def arm(self) -> None:
        """Arm the fault in this process."""
        below, number = os.fspath(self.below), 0

        def hook(event: str, arguments: tuple) -> None:
            nonlocal number
            if event == "open":
                path, _, flags = arguments
                if not self.reading and not (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                    return
            elif event in WRITING and not (self.kind == "ENOSPC" and event in REMOVING):
                path = arguments[0]
            else:
                return
            if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(below):
                return
            number += 1
            if number >= self.at:
                self._strike(os.fspath(path))

        sys.addaudithook(hook)

    def _strike(self, path: str) -> None:
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "late":
            time.sleep(self.seconds)
        elif self.kind == "gone":
            if self.what is not None and self.what.exists():
                self.what.rename(self.what.with_name("elsewhere"))
        else:
            number = getattr(errno, self.kind)
            raise OSError(number, os.strerror(number), path)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal that killed it) and what it wrote."""

    code: int | None
    out: str
    err: str


class Child:
    """A command of ours in a process of its own.

    Args:
        words: of the command, after `aasp`.
        folder: a folder for its output.
        before: called in the process before the command.
    """

    def __init__(self, words: Sequence[object], folder: Path, *before: Callable[[], Any]) -> None:
        self._out, self._err = folder / "out", folder / "err"
        arguments = (list(map(str, words)), str(self._out), str(self._err), before)
        self.process: BaseProcess = SERVER.Process(target=_command, args=arguments)  # type: ignore[attr-defined]
        self.process.start()

    def end(self, seconds: float = 120) -> Ended:
        """Wait for it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"still running after {seconds} s: {self._err.read_text()}")
        return Ended(self.process.exitcode, self._out.read_text(), self._err.read_text(errors="surrogateescape"))


def small_shards() -> None:
    """Let `aasp embed` keep every two rows, and `aasp index` add every six files."""
    from aasp.evaluate import stream
    from aasp.index import adding

    stream.SHARD_ROWS = 2
    adding.CHUNK = adding.FILES = 6


def no_cache() -> None:
    """Let `aasp pretrain` decode every crop from its file."""
    from aasp.pretrain import run

    run.CACHED_HOURS = 0


def no_locks() -> None:
    """A file system without locks, as some network file systems are."""
    import fcntl

    def refused(file: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = refused


def jumping_clock() -> None:
    """The clock goes back by a day, and forward by two, every few times it is read."""
    from itertools import cycle

    true, offsets = time.time, cycle([0] * 3 + [-86_400] * 3 + [86_400] * 3)
    time.time = lambda: true() + next(offsets)


def _command(words: list[str], out: str, err: str, before: Sequence[Callable[[], Any]]) -> None:
    for name, handle in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, handle)
        os.close(file)
    from aasp.cli.main import main

    for prepare in before:
        prepare()
    sys.exit(main(words))
