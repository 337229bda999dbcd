"""What a process learns about the others from the shared store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from torch import distributed

from aasp.training import peers

BROKEN = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[distributed.Store]:
    """Shared by this process, of rank 0, and another."""
    shared = distributed.HashStore()
    monkeypatch.setattr(peers, "_open_store", lambda: shared)
    monkeypatch.setattr(peers, "_joined", lambda: True)
    monkeypatch.setattr(peers, "_rank", lambda: 0)
    monkeypatch.setattr(peers, "_world", lambda: 2)
    monkeypatch.setattr(peers, "BEAT", 0.02)
    monkeypatch.setattr(peers, "PATIENCE", 0.2)
    monkeypatch.setattr(peers, "PATIENCE_AFTER_A_LOSS", 0.2)
    shared.set("who/1", "there, pid 7")
    shared.set("alive/1", "5")
    yield shared
    peers.leave()


def test_a_process_without_heartbeat_is_gone(store: distributed.Store) -> None:
    lost = peers.lost(BROKEN)
    message = "process of rank 1 (there, pid 7) is gone; the same command resumes from the last checkpoint"
    assert lost is not None and (str(lost), lost.exit_code) == (message, 75)


def test_a_stored_reason_of_a_process_is_reported(store: distributed.Store) -> None:
    store.set("ended/1", "2 data.batch is 5; give another")
    lost = peers.lost(BROKEN)
    assert lost is not None and (str(lost), lost.exit_code) == ("data.batch is 5; give another", 2)
    store.set("ended/1", "75 ")
    lost = peers.lost(BROKEN)
    assert lost is not None and (str(lost), lost.exit_code) == ("process of rank 1 stopped with exit code 75", 75)


def test_a_connection_that_broke_between_living_processes(store: distributed.Store) -> None:
    beating = threading.Timer(0.05, lambda: store.set("alive/1", "6"))
    beating.start()
    lost = peers.lost(BROKEN)
    assert lost is not None and "a connection between processes broke ([gloo/" in str(lost)


def test_other_errors_are_not_explained(store: distributed.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert peers.lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    monkeypatch.setattr(peers, "_joined", lambda: False)
    assert peers.lost(BROKEN) is None


def test_a_message_is_printed_once_and_stopped_processes_take_the_first_exit_code(store: distributed.Store) -> None:
    assert peers.ended(2, "no such folder") == (2, True)
    assert peers.ended(2, "no such folder") == (2, False)
    assert peers.ended(2, "another thing") == (2, True)
    assert peers.ended(75, "")[0] == 2


def test_a_process_waiting_for_a_frozen_one_stops(
    store: distributed.Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        peers._watch.done.set()  # type: ignore[union-attr]

    monkeypatch.setattr(os, "_exit", leave)
    began = time.monotonic()
    peers.watch()
    while not codes and time.monotonic() - began < 20:
        time.sleep(0.01)
    assert codes == [75] and store.get("alive/0") > b"0"
    assert "process of rank 1 (there, pid 7) is gone: no heartbeat" in capsys.readouterr().err


def test_a_process_cut_off_from_the_store_stops(
    store: distributed.Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call to a store behind a network that is cut does not return."""
    released, codes = threading.Event(), list[int]()

    def leave(code: int) -> None:
        codes.append(code)
        peers._watch.done.set()  # type: ignore[union-attr]
        released.set()

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(peers, "_read", lambda *_: released.wait(20) and "")
    peers.watch()
    assert released.wait(20) and codes == [75]
    assert (
        "process of rank 0 (" in (message := capsys.readouterr().err)
        and "has lost its connection to the store" in message
    )


def test_a_finished_process_is_not_reported(store: distributed.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("was missed"))
    store.set("ended/1", "0")
    peers.watch()
    time.sleep(0.5)
    peers.leave()
    assert store.get("ended/0") == b"0"
