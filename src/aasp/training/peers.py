"""The processes of one run: which are alive, how the others ended, and which one prints a message they share.

They share the key-value store of their launcher, torchrun or `accelerate launch`; processes that were started one by
one use the store of the first, once they have joined. Each process writes a heartbeat to it every second, and a
message when it ends.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import socket
import sys
import threading
import time

from torch import distributed

from aasp.errors import ProcessLost

BEAT = 1.0  # seconds between two heartbeats
PATIENCE = 60.0  # seconds without a heartbeat after which the others stop
PATIENCE_AFTER_A_LOSS = 6.0  # the same after a connection broke: a process has ended

_REMEDY = "the same command resumes from the last checkpoint"
_BROKEN = ("gloo", "closed by peer", "reset by peer", "broken pipe")  # in the messages of broken connections


def ended(code: int, line: str) -> tuple[int, bool]:
    """Announce to the other processes that this one ends, and how.

    Args:
        code: its exit code.
        line: its error message; empty for a process that was stopped by a signal.

    Returns:
        The exit code, which for a process that was stopped because another one failed is the other's; and whether
        this process is the first to announce this message.
    """
    store = _open_store()
    if store is None:
        return code, True
    try:
        if not line:
            codes = [_read(store, f"ended/{rank}").partition(" ")[0] for rank in range(_world())]
            code = next((int(other) for other in codes if other not in ("", "0")), code)
        store.set(f"ended/{_rank()}", f"{code} {line}")
        return code, store.add(f"said/{hashlib.sha256(line.encode()).hexdigest()}", 1) == 1
    except RuntimeError:
        return code, True


def lost(error: BaseException) -> ProcessLost | None:
    """Find out which process has ended, after a connection broke; None if the error is of another kind.

    This takes `PATIENCE_AFTER_A_LOSS` seconds at most.
    """
    network = isinstance(error, distributed.DistError)
    if not _joined() or not (network or any(text in str(error).lower() for text in _BROKEN)):
        return None
    store, others = _open_store(), [rank for rank in range(_world()) if rank != _rank()]
    if store is None:
        return ProcessLost(f"process of rank 0 is gone, and with it the store that the processes share; {_REMEDY}")
    began, first = time.monotonic(), {rank: _read(store, f"alive/{rank}") for rank in others}
    while True:
        for rank in others:
            code, _, line = _read(store, f"ended/{rank}").partition(" ")
            if code not in ("", "0"):
                return ProcessLost(line or f"process of rank {rank} stopped with exit code {code}", int(code))
        silent = [rank for rank in others if _read(store, f"alive/{rank}") == first[rank]]
        if not silent or time.monotonic() - began > PATIENCE_AFTER_A_LOSS:
            break
        time.sleep(BEAT / 2)
    if silent:
        return ProcessLost(f"{' and '.join(_lost_process(store, rank) for rank in silent)}; {_REMEDY}")
    return ProcessLost(f"a connection between processes broke ({str(error).splitlines()[0]}); {_REMEDY}")


def watch() -> None:
    """Start to send heartbeats, and stop this process when the next one sends no more."""
    global _watch
    if _watch is None and (store := _open_store()) is not None:
        _watch = _Watch(store, _rank(), _world())
        _watch.start()


def leave() -> None:
    """Stop the heartbeats: this process has finished."""
    global _watch
    if _watch is not None:
        _watch.finish()
        _watch = None


class _Watch(threading.Thread):
    """The thread that sends heartbeats and watches the next process; in a ring, so that every process is watched."""

    def __init__(self, store: distributed.Store, rank: int, world: int) -> None:
        super().__init__(name="aasp-watch", daemon=True)
        self.done, self._store, self._rank, self._next = threading.Event(), store, rank, (rank + 1) % world
        self._answered = time.monotonic()
        store.set(f"who/{rank}", f"{socket.gethostname()}, pid {os.getpid()}")

    def run(self) -> None:
        beats, seen, last = 0, "", time.monotonic()
        threading.Thread(target=self._watch_store, name="aasp-watch-store", daemon=True).start()
        while not self.done.wait(BEAT):
            beats += 1
            try:
                self._store.set(f"alive/{self._rank}", str(beats))
                now = _read(self._store, f"alive/{self._next}")
                finished = _read(self._store, f"ended/{self._next}").startswith("0")
            except RuntimeError:  # the process that hosts the store has ended, or is ending
                now, finished = seen, False
            self._answered = time.monotonic()
            if now != seen or finished:
                seen, last = now, time.monotonic()
            elif time.monotonic() - last > PATIENCE and not self.done.is_set():
                line = f"{_lost_process(self._store, self._next)}: no heartbeat for {PATIENCE:.0f} s; {_REMEDY}"
                if ended(75, line)[1]:
                    print(f"aasp: error: {line}", file=sys.stderr, flush=True)
                os._exit(75)  # the main thread may be blocked, waiting for the other process

    def _watch_store(self) -> None:
        """Stop this process when the store does not answer: if the network is down, a call to it never returns."""
        while not self.done.wait(BEAT):
            if time.monotonic() - self._answered > PATIENCE + BEAT:
                name = f"process of rank {self._rank} ({socket.gethostname()}, pid {os.getpid()})"
                line = f"{name} has lost its connection to the store of all processes: no answer for {PATIENCE:.0f} s"
                print(f"aasp: error: {line}; {_REMEDY}", file=sys.stderr, flush=True)
                os._exit(75)

    def finish(self) -> None:
        self.done.set()
        self.join(2 * BEAT)
        with contextlib.suppress(RuntimeError):
            if not _read(self._store, f"ended/{self._rank}"):
                self._store.set(f"ended/{self._rank}", "0")


_watch: _Watch | None = None


def _lost_process(store: distributed.Store, rank: int) -> str:
    who = _read(store, f"who/{rank}")
    return f"process of rank {rank} {f'({who}) ' if who else ''}is gone"


def _read(store: distributed.Store, key: str) -> str:
    """The value of a key, empty if there is none; `get` alone would wait for one."""
    return store.get(key).decode() if store.check([key]) else ""


def _open_store() -> distributed.Store | None:
    """A new connection to the shared store; None if there is no shared store, or its host process has ended."""
    environment = os.environ
    kept = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True" or _joined()
    if not kept or _world() < 2:
        return None
    wait = datetime.timedelta(seconds=5)
    try:
        place = (environment["MASTER_ADDR"], int(environment["MASTER_PORT"]))
        store = distributed.TCPStore(*place, is_master=False, wait_for_workers=False, timeout=wait)
    except (RuntimeError, LookupError, ValueError):
        return None
    attempt = [environment.get(f"TORCHELASTIC_{name}", "") for name in ("RUN_ID", "RESTART_COUNT")]
    return distributed.PrefixStore("/".join(["aasp", *attempt]), store)


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _rank() -> int:
    return distributed.get_rank() if _joined() else int(os.environ.get("RANK", "0"))


def _world() -> int:
    return distributed.get_world_size() if _joined() else int(os.environ.get("WORLD_SIZE", "1"))
