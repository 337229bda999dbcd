"""Read files in a process of its own that may not take more than 2 GiB: one line of JSON for each, as it is done.

`python reader.py < list of files`. The process that reads these lines sees which file ended it, if one did.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue

LIMIT_BYTES = 2 << 30
LIMIT_SECONDS = 10.0
FIRST_SECONDS = 70.0  # the first file waits for what is imported


@dataclass(frozen=True)
class Report:
    """What became of one file.

    Attributes:
        status: "read", "refused" by probe, "unlike" (probe takes it and read refuses), or what went wrong.
        detail: the reason, or the error.
        seconds: for probing, reading whole and reading a window.
        peak_mib: memory that the process had taken at most by then, beyond what it began with.
    """

    path: str
    status: str
    detail: str
    seconds: float
    peak_mib: float


def reports(paths: Sequence[Path]) -> tuple[list[Report], str]:
    """(a report for every file, what was written to the standard error) of reading them in child processes."""
    found: list[Report] = []
    written = ""
    while len(found) < len(paths):
        left = [str(path) for path in paths[len(found) :]]
        child = subprocess.Popen([sys.executable, __file__], stdin=-1, stdout=-1, stderr=-1, text=True)
        assert child.stdin is not None
        child.stdin.write("\n".join(left))
        child.stdin.close()
        lines, errors = _queue(child.stdout), _queue(child.stderr)
        before = len(found)
        limit = FIRST_SECONDS
        while len(found) - before < len(left):
            try:
                line = lines.get(timeout=limit)
            except Empty:
                child.kill()
                found.append(Report(paths[len(found)].name, "hang", f"more than {limit:g} s", limit, 0.0))
                break
            if line is None:
                found.append(Report(paths[len(found)].name, "crash", f"exit {child.wait()}", 0.0, 0.0))
                break
            if not line.startswith('{"path"'):  # a C library wrote to the standard output
                written += line
                continue
            found.append(Report(**json.loads(line)))
            limit = LIMIT_SECONDS
        child.wait()
        while (text := errors.get()) is not None:
            written += text
    return found, written


def _queue(pipe) -> Queue:
    """The lines of a pipe, then None."""
    queue: Queue = Queue()

    def fill() -> None:
        for line in pipe:
            queue.put(line)
        queue.put(None)

    threading.Thread(target=fill, daemon=True).start()
    return queue


def _most_kib() -> int:
    """The most memory that this process has had; `getrusage` starts at the maximum of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _read_all() -> Iterator[Report]:
    from aasp.audio.io import AudioError, probe, read

    names = sys.stdin.read().splitlines()
    resident = _most_kib()
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + LIMIT_BYTES, pages + LIMIT_BYTES))
    for name in names:
        status, detail, began = "read", "", time.monotonic()
        try:
            info = probe(name)
        except AudioError as error:
            status, detail = "refused", error.reason
        except Exception as error:
            status, detail = "error", repr(error)
        if status == "read":
            try:
                whole = read(name)
                read(name, start=info.seconds / 2, seconds=info.seconds / 4)
                if not len(whole):
                    status = "error"
            except AudioError as error:
                status, detail = "unlike", error.reason
            except Exception as error:
                status, detail = "error", repr(error)
        peak = (_most_kib() - resident) / 1024
        yield Report(name, status, detail, time.monotonic() - began, peak)


if __name__ == "__main__":
    for report in _read_all():
        print(json.dumps(vars(report)), flush=True)
