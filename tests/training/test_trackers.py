"""Trackers get every number of the history, the recipe and how it ended; a resumed run continues there."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from toy_training import OPTIMIZER, toy_run

from aasp.errors import AaspError
from aasp.training import trackers
from aasp.training.loop import Settings, TrainingStopped
from aasp.training.trackers import Trackers, check_installed

RECIPE = {"name": "toy", "optimizer": {"lr": 0.5}, "layers": [1, 2]}


def test_tensorboard_gets_the_same_numbers_and_drops_cut_steps(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Trackers(("tensorboard",), tmp_path, 0, RECIPE)
    for step in (1, 2, 3):
        first.log(step, {"loss": float(step)})
    first.finish("stopped")
    then = Trackers(("tensorboard",), tmp_path, 2, RECIPE)
    then.log(3, {"loss": 30.0, "rank": math.nan})
    then.finish("finished")
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    (summary,) = board.Tensors("recipe/text_summary")
    assert b'"lr": 0.5' in summary.tensor_proto.string_val[0]
    assert all(file.is_file() for file in (tmp_path / "tensorboard").iterdir())


def test_a_tracker_that_is_not_installed_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.PACKAGES, "nosuchtracker", "nosuchtracker")
    with pytest.raises(AaspError, match="--track nosuchtracker: it is not installed; pip install nosuchtracker"):
        Settings("toy", OPTIMIZER, track=("nosuchtracker",))  # type: ignore[arg-type]
    with pytest.raises(AaspError, match="--track comet: no such tracker; choose from tensorboard, wandb"):
        check_installed(("comet",))


class Fake:
    """A Trackio that keeps what is logged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inits: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.ends = 0
        self.config: dict[str, Any] = {}
        module = ModuleType("trackio")
        module.__spec__ = sys.__spec__  # type: ignore[attr-defined]
        module.init = lambda **options: self.inits.append(options) or self  # type: ignore[attr-defined]
        module.config = self  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "trackio", module)

    def update(self, values: dict[str, Any], **_: Any) -> None:
        self.config = values

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.ends += 1


def test_a_training_logs_to_the_tracker_and_resumes_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(monkeypatch)
    run = tmp_path / "toy"
    with pytest.raises(TrainingStopped):
        toy_run(run, fails_at=12, track=("trackio",))
    toy_run(run, track=("trackio",))
    first, then = fake.inits
    assert first["name"] == then["name"] == json.loads((run / "trackers.json").read_text())["trackio"]
    assert first["name"].startswith("toy-") and (first["project"], then["resume"]) == ("aasp", "allow")
    assert fake.ends == 2 and fake.config == {"toy": 1, "steps": 20}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {step: values for step, values in fake.logged} == {line.pop("step"): line for line in lines}
    assert not (run / "tensorboard").exists(), "what is given takes its place"


def test_a_failing_tracker_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(monkeypatch)

    def refuse(values: dict[str, float], step: int) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(fake, "log", refuse)
    assert toy_run(tmp_path / "toy", track=("trackio", "tensorboard")).step == 20
    warning = "tracker trackio: no route to host; continuing without it, "
    assert capsys.readouterr().err.count(warning) == 1
    assert any((tmp_path / "toy/tensorboard").iterdir())


@pytest.mark.slow
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"file:{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    ends = {}
    for options, end in (({"fails_at": 12}, "FAILED"), ({}, "FINISHED")):
        with contextlib.suppress(TrainingStopped):
            toy_run(tmp_path / "toy", track=("mlflow",), **options)
        client = mlflow.MlflowClient()
        (found,) = client.search_runs([client.get_experiment_by_name("aasp").experiment_id])
        ends[end] = found.info.status
    assert all(end == status for end, status in ends.items())
    assert found.info.run_id == json.loads((tmp_path / "toy/trackers.json").read_text())["mlflow"]
    assert found.data.params == {"toy": "1", "steps": "20"}
    lines = [json.loads(line) for line in (tmp_path / "toy/metrics.jsonl").read_text().splitlines()]
    history = {one.step: one.value for one in client.get_metric_history(found.info.run_id, "loss")}
    assert history == {line["step"]: line["loss"] for line in lines}
    assert set(found.data.metrics) == set(lines[-1]) - {"step"}


@pytest.mark.slow
def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    for options in ({"signals": {7: 15}}, {}):
        toy_run(tmp_path / "toy", track=("trackio",), **options)
    (found,) = trackio.Api().runs("aasp")
    assert found.name == json.loads((tmp_path / "toy/trackers.json").read_text())["trackio"]
    lines = [json.loads(line) for line in (tmp_path / "toy/metrics.jsonl").read_text().splitlines()]
    kept = importlib.import_module("trackio.sqlite_storage").SQLiteStorage.get_logs("aasp", found.name)
    logged = {one["step"]: one["loss"] for one in kept if "loss" in one}
    assert logged == {one["step"]: one["loss"] for one in lines}
    assert found.config["steps"] == 20


@pytest.mark.slow
def test_wandb_without_network_is_kept_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for options in ({"signals": {7: 15}}, {}):
        toy_run(tmp_path / "toy", track=("wandb",), **options)
    run = json.loads((tmp_path / "toy/trackers.json").read_text())["wandb"]
    kept = sorted((tmp_path / "toy/wandb").glob("offline-run-*"))
    assert len(kept) == 2 and all(folder.name.endswith(run) for folder in kept)
    assert "kept offline in" in capsys.readouterr().err
