"""Disks, folders, clocks and locks that fail: one line, the last good state stays, the same command then continues."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from children import Child, Ended, Fault, jumping_clock, no_cache, no_locks, small_shards
from commands import COMMANDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, int]]:
    """The result of a command without faults, and how many bytes it writes."""
    known: dict[str, tuple[Any, int]] = {}

    def get(name: str) -> tuple[Any, int]:
        if name not in known:
            place = tmp_path_factory.mktemp(name)
            end(name, given, place / "out", 0)
            size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            known[name] = COMMANDS[name].result(place / "out"), size
        return known[name]

    return get


def end(name: str, given: Path, out: Path, code: int, *before: Callable[[], Any]) -> Ended:
    """Run a command that must succeed, or fail with one line and a remedy."""
    logs = out.parent.with_name(f"{out.parent.name}-logs")
    logs.mkdir(exist_ok=True)
    ended = Child(COMMANDS[name].words(given, out), logs, small_shards, *before).end()
    assert ended.code == code, (ended.code, ended.err)
    beside = ("aasp: warning:", "tracker ")  # a tracker that fails is left, the run continues
    lines = [line for line in ended.err.splitlines() if not line.startswith(beside)]
    assert len(lines) == (code != 0), ended.err
    assert all(re.match(r"aasp: error: .+; .+", line) for line in lines), ended.err
    COMMANDS[name].check(out)
    return ended


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes the folder `disk` a disk of so many bytes, and another time changes its size."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int) -> Path:
        options = f"size={size}" if not place.is_mount() else f"remount,size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("needs to mount a small disk, which root may")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full(name: str, share: float, given: Path, expected: Any, small_disk: Any) -> None:
    result, size = expected(name)
    disk = small_disk(max(4096, int(share * size)))
    message = end(name, given, disk / "out", 1).err
    assert re.match(rf"aasp: error: disk full: {disk}/\S+; free some space or write elsewhere", message)
    small_disk(100 * size)
    end(name, given, disk / "out", 0)
    assert COMMANDS[name].result(disk / "out") == result


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS", "EIO", "ESTALE"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_operation_that_fails(
    name: str, share: float, error: str, given: Path, expected: Any, tmp_path: Path
) -> None:
    result, _ = expected(name)
    out = tmp_path / "place/out"
    out.parent.mkdir()
    fault = Fault(error, out.parent, at=1 + int(share * COMMANDS[name].operations * 0.4))
    assert str(out.parent) in end(name, given, out, 1, fault.arm).err
    end(name, given, out, 0)
    assert COMMANDS[name].result(out) == result


@pytest.mark.parametrize("name", COMMANDS)
def test_a_clock_that_jumps(name: str, given: Path, expected: Any, tmp_path: Path) -> None:
    ended = end(name, given, tmp_path / "place/out", 0, jumping_clock)
    assert COMMANDS[name].result(tmp_path / "place/out") == expected(name)[0]
    assert not re.search(r"(?<![\w/.])-\d", ended.out), "no negative time"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_system_that_answers_late(name: str, given: Path, expected: Any, tmp_path: Path) -> None:
    late = Fault("late", tmp_path, reading=True, seconds=0.02)
    end(name, given, tmp_path / "place/out", 0, late.arm)
    assert COMMANDS[name].result(tmp_path / "place/out") == expected(name)[0]


@pytest.mark.parametrize("name", ["pretrain", "finetune", "embed", "index", "compare"])
def test_a_file_system_without_locks(name: str, given: Path, tmp_path: Path) -> None:
    message = end(name, given, tmp_path / "place/out", 1, no_locks).err
    assert re.search(r"no locks available: \S+lock; choose a place whose file system has locks", message)


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_lock_whose_owner_is_dead(name: str, given: Path, expected: Any, tmp_path: Path) -> None:
    out = tmp_path / "place/out"
    out.mkdir(parents=True)
    (out / ".lock").write_text("another-host 12345\n")
    holding = "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, 2); print(1, flush=True)"
    holding += "; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", holding, str(out / ".lock")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        try:
            assert f"run in use: {out}" in end(name, given, out, 2).err
        finally:
            holder.kill()
    end(name, given, out, 0)
    assert COMMANDS[name].result(out) == expected(name)[0]


@pytest.mark.parametrize("name", ["pretrain", "finetune", "embed", "compare"])
def test_data_that_vanishes(name: str, given: Path, expected: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(given, mine)
    out = tmp_path / "place/out"
    at = 1 if name == "embed" else COMMANDS[name].operations // 3  # it decodes far ahead
    gone = Fault("gone", out.parent, at=at, what=mine / "sounds")
    message = end(name, mine, out, 2, no_cache, gone.arm).err
    assert re.search("folder of the data is gone|no such file|no such folder", message) and str(mine) in message
    (mine / "elsewhere").rename(mine / "sounds")
    end(name, mine, out, 0, no_cache)
    assert COMMANDS[name].result(out) is not None


@pytest.mark.parametrize("name", ["pretrain", "embed"])
def test_files_deleted_or_cut_between_scan_and_use(name: str, given: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(given, mine)
    end("scan", mine, tmp_path / "scanned/out", 0)
    os.remove(mine / "sounds/white/2.wav")
    cut = mine / "sounds/brown/5.wav"
    os.truncate(cut, cut.stat().st_size // 2)
    words = COMMANDS[name].words(mine, tmp_path / "place/out")
    words[words.index(mine / "sounds")] = tmp_path / "scanned/out/all.parquet"
    ended = Child(words, tmp_path, small_shards).end()
    assert ended.code == 0, ended.err
    listed = (tmp_path / "place/out/skipped.csv").read_text() if name == "pretrain" else ended.out + ended.err
    assert "2.wav" in listed and "5.wav" in listed
