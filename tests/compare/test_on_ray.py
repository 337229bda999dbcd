"""Cells on a Ray cluster: each done once, whatever worker dies; failures are noted in the folder as without Ray."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aasp.compare.cells import Cell, Outcome
from aasp.compare.folder import Folder, Trained
from aasp.compare.measures import Scores
from aasp.compare.on_ray import DIED, OnRay, workers
from aasp.errors import AaspError
from aasp.training.loop import TrainingStopped
from nodes import two_nodes

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Any]:
    yield from two_nodes(sys.modules[__name__])


class Measure:
    name = "set"

    def __call__(self, model: Path) -> Scores:
        return Scores("accuracy", [1.0])


def train(cell: Cell, trained: Trained) -> int:
    """Records each try in a file; ends as the cell's name states."""
    with (trained.path / "tries").open("a") as file:
        file.write(f"{os.getpid()} {torch.get_num_threads()}\n")
    tries = len((trained.path / "tries").read_text().splitlines())
    if cell.name == "deadly" or (cell.name == "killed" and tries == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.name == "ill":
        raise TrainingStopped("ill stopped at step 3")
    if cell.name == "bad":
        raise AaspError("no such data: x; give another")
    trained.finish({})
    return 0


def run(folder: Path, names: str, lines: list[str]) -> Outcome:
    cells = [Cell(name, seed, [Measure()], None) for seed in range(2) for name in names.split()]
    return OnRay(False, 1)(cells, Folder(folder), train=train, listen=lambda cell, model: model, say=lines.append)


def tries(folder: Path, name: str, seed: int = 0) -> int:
    return len((folder / f"cells/{name}/seed-{seed}/tries").read_text().splitlines())


def test_each_cell_is_done_once_though_workers_die(tmp_path: Path) -> None:
    lines: list[str] = []
    assert run(tmp_path, "a killed ill deadly", lines) == Outcome(
        [],
        {f"ill, seed {seed}": "ill stopped at step 3" for seed in range(2)}
        | {f"deadly, seed {seed}": DIED for seed in range(2)},
    )
    assert [tries(tmp_path, name) for name in ("a", "killed", "ill", "deadly")] == [1, 2, 1, 3]
    assert (tmp_path / "cells/a/seed-1/scores/set.json").exists()
    assert "training a, seed 0 (cell 1 of 1)" in lines and f"failed: deadly, seed 1: {DIED}" in lines
    assert (tmp_path / "cells/a/seed-0/tries").read_text().split()[1] == "1"
    run(tmp_path, "a killed ill deadly b", lines)
    assert tries(tmp_path, "b", 1) == 1 and tries(tmp_path, "a") == 1, "a second call does only what is missing"


def test_an_error_common_to_all_cells_is_raised_unchanged(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"^no such data: x; give another$"):
        run(tmp_path, "bad", [])


def test_workers_by_device() -> None:
    assert workers("ray", "auto", 3) == OnRay(False, 3)
    for device, message in (("cuda", "the cluster has no GPU"), ("cuda:1", "Ray gives each worker its GPU")):
        with pytest.raises(AaspError, match=message):
            workers("ray", device)
