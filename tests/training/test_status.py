"""The status of runs, read from their folders: running, stopped, failed, finished, half written, or not a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from toy_training import toy_run

from aasp.files import is_locked, locked
from aasp.training.loop import TrainingStopped
from aasp.training.status import find_runs, status_of


def make(run: Path, *, recipe: Any = None, lines: str = "", checkpoint: int | None = None, model: bool = False) -> Path:
    """A run's folder, without running anything."""
    run.mkdir(parents=True)
    (run / ".lock").touch()
    (run / "recipe.json").write_text(json.dumps(recipe or {"name": "aasp_tiny", "steps": 40}))
    (run / "metrics.jsonl").write_text(lines)
    if checkpoint is not None:
        (run / f"checkpoints/step-{checkpoint:08d}").mkdir(parents=True)
        (run / f"checkpoints/step-{checkpoint:08d}/state.json").write_text("{}")
    if model:
        (run / "model").mkdir()
    return run


def line(step: int, **more: Any) -> str:
    return (
        json.dumps({"step": step, "loss": 2.5, "clips_per_second": 8.0, "diagnostics/embedding_rank": 3.0, **more})
        + "\n"
    )


def test_the_status_of_a_run(tmp_path: Path) -> None:
    run = make(tmp_path / "run", lines=line(10) + line(20, loss=1.25) + '{"step": 30, "lo', checkpoint=16)
    found = status_of(run)
    assert found is not None
    assert (found.state, found.kind, found.recipe) == ("stopped", "pretrain", "aasp_tiny")
    assert (found.step, found.steps, found.loss, found.clips_per_second) == (20, 40, 1.25, 8.0)
    assert found.health == {"embedding_rank": 3.0}
    assert found.checkpoint == "step-00000016" and abs(found.saved - time.time()) < 60
    assert found.checkpoint_bytes == len("{}")
    assert found.bytes == sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    with locked(run / ".lock"):
        assert status_of(run).state == "running"
    assert json.loads(json.dumps(found.document()))["path"] == str(run)


def test_it_is_finished_with_its_last_step_and_its_result(tmp_path: Path) -> None:
    assert status_of(make(tmp_path / "a", lines=line(40), checkpoint=40)).state == "stopped", "its model is not there"
    assert status_of(make(tmp_path / "b", lines=line(40), checkpoint=40, model=True)).state == "finished"
    tuned = {"name": "tiny", "steps": 40, "finetuned": {}}
    run = make(tmp_path / "c", recipe=tuned, lines=line(40), checkpoint=40, model=True)
    assert (status_of(run).kind, status_of(run).state) == ("finetune", "stopped"), "it is not scored yet"
    (run / "predictions.npz").touch()
    assert status_of(run).state == "finished"
    (run / "checkpoints/step-00000040/state.json").write_text('{"history": {"extended": [{"step": 40, "steps": 20}]}}')
    assert (status_of(run).steps, status_of(run).state) == (60, "stopped")


def test_cells_of_a_comparison(tmp_path: Path) -> None:
    run = make(tmp_path / "cells/aasp_tiny/seed-0", lines=line(40), model=True)
    assert (status_of(run).kind, status_of(run).state) == ("cell", "stopped")
    (run / "trained.json").write_text("{}")
    assert status_of(run).state == "finished"
    broken = make(tmp_path / "cells/eat_tiny/seed-0", lines=line(4))
    (broken / "failed.json").write_text('{"why": "all embeddings\\nlie on a line"}')
    assert (status_of(broken).state, status_of(broken).reason) == ("failed", "all embeddings lie on a line")


def test_a_failed_run_states_the_reason_until_it_resumes(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        toy_run(tmp_path, fails_at=3)
    found = status_of(tmp_path)
    assert (found.state, found.step) == ("failed", 3)
    assert found.reason.startswith("toy stopped at step 3: the toy is wrong")
    toy_run(tmp_path)
    assert not (tmp_path / "failure.json").exists() and status_of(tmp_path).step == 20


@pytest.mark.parametrize(
    "recipe", ["", '{"name": "aasp_ti', "[1]", '{"name": 3}', "\0\0", '{"steps": "many"}', "[" * 9999]
)
def test_a_damaged_recipe_is_reported(tmp_path: Path, recipe: str) -> None:
    run = make(tmp_path / "run", lines="[1]\n\0\0\0", checkpoint=3)
    (run / "recipe.json").write_text(recipe)
    found = status_of(run)
    assert found.state == "damaged" and "recipe.json" in found.reason and "\n" not in found.reason
    assert (found.step, found.loss, found.health) == (3, None, {})


@pytest.mark.parametrize("tail", ['"x"\n', '{"step": "one"}\n', '{"step": 9, "loss": NaN, "diagnostics/r": "high"}\n'])
def test_a_foreign_or_poisoned_log_gives_no_number(tmp_path: Path, tail: str) -> None:
    found = status_of(make(tmp_path / "run", lines=tail))
    assert found.loss is None and found.health == {}
    json.loads(json.dumps(found.document()), parse_constant=pytest.fail)


def test_folders_that_are_no_runs_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "cake").mkdir()
    (tmp_path / "cake/recipe.json").write_text('{"eggs": 3, "steps": 4}')
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/metrics.jsonl").write_text(line(3))
    make(tmp_path / "real")
    (tmp_path / "real/loop").symlink_to(tmp_path)
    make(tmp_path / "real/checkpoints/step-00000001")
    assert [one.path for one in find_runs(tmp_path)] == [tmp_path / "real"]


def test_running_ones_come_first_then_the_last_active(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "old", "older", "oldest"]):
        run = make(tmp_path / name, lines=line(1))
        os.utime(run / "metrics.jsonl", (time.time() - 1000 * age,) * 2)
    with locked(tmp_path / "older/.lock"):
        assert [one.path.name for one in find_runs(tmp_path)] == ["older", "new", "old", "oldest"]


def test_reading_the_status_does_not_block_a_starting_run(tmp_path: Path) -> None:
    """Reading the status holds the lock for a moment; a run that starts then waits."""
    lock = tmp_path / ".lock"
    lock.touch()
    asking = "import sys, pathlib, aasp.files as f\nwhile True: f.is_locked(pathlib.Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", asking, str(lock)])
    try:
        time.sleep(0.5)
        for _ in range(200):
            with locked(lock) as ours:
                assert ours
    finally:
        process.kill()
        process.wait()
    assert not is_locked(lock) and not is_locked(tmp_path / "nothing")
