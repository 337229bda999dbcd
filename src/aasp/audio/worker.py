"""The process that `aasp.audio.decoder_process` starts: it reads requests, one line of JSON each, and answers.

A request is [function of `aasp.audio.reading`, path, its other arguments]. An answer is the length of a JSON head, four
bytes, the head [kind, value, files whose channels cancel], and for "samples", whose value is a shape, their bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys
import threading
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

import numpy as np

from aasp.audio import channels, reading
from aasp.audio.error import AudioError
from aasp.errors import AaspError

FUNCTIONS = ("probe", "read", "check_decodes", "codec")
LEAST_BYTES = 2 << 30


def memory() -> int:
    """Bytes that decoding may use: half of the machine's memory, at least 2 GiB."""
    return max(LEAST_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


def main(niceness: str) -> None:
    """Answer requests until there are no more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # for the parent, which needs its sound to stop in order
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, int(niceness))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would write half of the memory to disk
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = memory() if hard == resource.RLIM_INFINITY else min(hard, memory())
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    answers = os.dup(1)
    os.dup2(2, 1)  # output of a C library would otherwise be read as an answer
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    _write(answers, b"\n")
    while True:
        head, samples = answer(*json.loads(requests.get()))
        head_bytes = json.dumps([*head, channels.take_cancelled()]).encode()
        _write(answers, struct.pack("<I", len(head_bytes)) + head_bytes)
        if samples is not None:
            _write(answers, samples.data.cast("B") if samples.size else b"")


def answer(what: str, path: str, how: dict[str, Any]) -> tuple[list[Any], np.ndarray | None]:
    """The header of the answer to a request, and samples."""
    try:
        assert what in FUNCTIONS
        found = getattr(reading, what)(path, **how)
    except AudioError as error:
        return ["audio error", [error.path, error.reason, error.remedy]], None
    except AaspError as error:
        return ["error", str(error)], None
    except MemoryError:
        reason = f"decoding it takes more than {memory() / 2**30:.1f} GiB of memory"
        return ["audio error", [path, reason, "cut it into shorter files"]], None
    except Exception as error:  # a decoder's own exception, for a file that it can't handle
        head_bytes = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return ["audio error", [path, f"its decoder gave up ({head_bytes})", "leave it out"]], None
    if isinstance(found, np.ndarray):
        found = np.ascontiguousarray(found)
        return ["samples", list(found.shape)], found
    return ["value", asdict(found) if isinstance(found, reading.AudioInfo) else found], None


def _listen(requests: SimpleQueue[bytes]) -> None:
    """Queue the requests. At their end the parent is gone: exit, even if a decoder hangs."""
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


def _write(file: int, content: bytes | memoryview) -> None:
    view = memoryview(content)
    while len(view):
        view = view[os.write(file, view) :]


if __name__ == "__main__":
    main(*sys.argv[1:])
