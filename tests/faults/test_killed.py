"""kill -9 at any moment: the files are complete, and the same command then gives the same result, bit for bit."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from children import Child, Fault, small_shards
from commands import COMMANDS, Command

pytestmark = pytest.mark.slow

MAX_KILLS = 4  # of a run


def killed(command: Command, given: Path, out: Path, logs: Path, random: np.random.Generator, longest: float) -> bool:
    """Start a command and kill it at a random moment: at one of its operations on files, or by the clock."""
    if random.random() < 0.5:
        fault = Fault("kill", out.parent, at=int(random.integers(1, 1 + command.operations // 2)))
        child = Child(command.words(given, out), logs, small_shards, fault.arm)
    else:
        child = Child(command.words(given, out), logs, small_shards)
        time.sleep(random.uniform(0, longest / 2))
        child.process.kill()
    ended = child.end()
    # The last thing that `aasp embed` does is to remove what was half done: killed at that, it had done its work.
    done = "output exists" in ended.err and not list(out.parent.glob("*.part/*"))
    assert ended.code in (0, -9) or done, ended.err
    return ended.code == -9


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(name: str, given: Path, tmp_path: Path) -> None:
    command = COMMANDS[name]
    began = time.monotonic()
    whole = Child(command.words(given, tmp_path / "whole/out"), tmp_path, small_shards).end()
    longest = time.monotonic() - began
    assert whole.code == 0, whole.err
    expected = command.result(tmp_path / "whole/out")
    random, kills, runs = np.random.default_rng(0), 0, 0
    while kills < command.kills:
        out = tmp_path / f"{runs}" / "out"
        out.parent.mkdir()
        for _ in range(MAX_KILLS):
            if not killed(command, given, out, tmp_path, random, longest):
                break
            kills += 1
            command.check(out)
        else:  # a command that takes no longer than its start-up could be killed forever
            ended = Child(command.words(given, out), tmp_path, small_shards).end()
            assert ended.code == 0 or "output exists" in ended.err, ended.err
        runs += 1
        assert command.result(out) == expected
        locks = (".lock", ".taken", ".settings.lock")
        assert [path for path in out.parent.rglob(".*") if path.name not in locks] == []
    print(f"{name}: {kills} kills, {runs} runs, {time.monotonic() - began:.0f} s")
