"""Cells are done once, in order, by any process; a failed one does not stop the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aasp.compare.cells import Cell, Outcome, work
from aasp.compare.folder import Folder, Trained
from aasp.compare.measures import Scores
from aasp.errors import AaspError
from aasp.evaluate.probe import Unusable
from aasp.training.loop import TrainingStopped


class Recorder:
    """A measure that records the folder of each model it measures."""

    def __init__(self, name: str = "set") -> None:
        self.name, self.measured = name, list[str]()

    def __call__(self, model: Path) -> Scores:
        self.measured.append(str(model))
        return Scores("accuracy", [1.0])


class Trainer:
    """Finishes every cell, except those configured to end otherwise."""

    def __init__(self, **ends: Any) -> None:
        self.ends, self.trained = ends, list[str]()

    def __call__(self, cell: Cell, trained: Trained) -> int:
        self.trained.append(cell.place)
        end = self.ends.get(cell.name, 0)
        if isinstance(end, Exception):
            raise end
        if not end:
            trained.finish({})
        return end


def run(
    folder: Folder, trainer: Trainer, measure: Any, names: str = "a b", seeds: int = 2, curve: bool = True
) -> Outcome:
    pairs = [(name, seed) for seed in range(seeds) for name in names.split()]
    cells = [Cell(name, seed, [measure], None, "trained", (5,), curve) for name, seed in pairs]
    return work(cells, folder, train=trainer, listen=lambda cell, model: model, say=lambda line: None)


def test_everything_is_done_once_and_in_order(tmp_path: Path) -> None:
    folder, trainer, measure = Folder(tmp_path), Trainer(), Recorder()
    assert run(folder, trainer, measure) == Outcome([], {})
    assert trainer.trained == ["a, seed 0", "b, seed 0", "a, seed 1", "b, seed 1"]
    stage, whole = measure.measured[:2]
    assert stage.endswith("cells/a/seed-0/stages/step-00000005/model") and whole.endswith("cells/a/seed-0/model")
    assert len(measure.measured) == 8
    assert run(folder, trainer, measure) == Outcome([], {})
    assert len(trainer.trained) == 4 and len(measure.measured) == 8
    run(folder, trainer, more := Recorder("another set"))
    assert len(trainer.trained) == 4 and len(more.measured) == 8
    run(folder, trainer, measure, names="a b c", seeds=1)
    assert trainer.trained[4:] == ["c, seed 0"]


def test_earlier_encoders_can_be_measured_later(tmp_path: Path) -> None:
    folder, trainer, measure = Folder(tmp_path), Trainer(), Recorder()
    for _ in range(2):
        run(folder, trainer, measure, curve=False)
        assert len(trainer.trained) == 4 and len(measure.measured) == 4
        assert not any("stages" in model for model in measure.measured)
    run(folder, trainer, measure)
    assert len(trainer.trained) == 4 and len(measure.measured) == 8
    assert all("stages" in model for model in measure.measured[4:])


def test_a_cell_that_another_process_runs_is_skipped(tmp_path: Path) -> None:
    folder, trainer = Folder(tmp_path), Trainer()
    with folder.trained("a", 0).taken() as ours:
        assert ours and run(folder, trainer, Recorder()).busy == ["a, seed 0"]
    assert "a, seed 0" not in trainer.trained and run(folder, trainer, Recorder()).busy == []
    assert sorted(trainer.trained) == ["a, seed 0", "a, seed 1", "b, seed 0", "b, seed 1"]


def test_processes_at_one_folder_do_every_cell_once(tmp_path: Path) -> None:
    """Locks are of open files, so that threads stand for processes."""
    folder, trainers = Folder(tmp_path), [Trainer() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda trainer: run(folder, trainer, Recorder(), names="a b c d", seeds=3), trainers))
    done = [place for trainer in trainers for place in trainer.trained]
    assert sorted(done) == [f"{name}, seed {seed}" for name in "abcd" for seed in range(3)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TrainingStopped("a stopped at step 7: loss is not finite"), "a stopped at step 7: loss is not finite"),
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_cell_that_breaks_down_is_listed_and_left(tmp_path: Path, error: Exception, message: str) -> None:
    folder, trainer = Folder(tmp_path), Trainer(a=error)
    outcome = run(folder, trainer, Recorder(), seeds=1)
    assert outcome == Outcome([], {"a, seed 0": message}) and trainer.trained == ["a, seed 0", "b, seed 0"]
    assert folder.trained("b", 0).scores("set") is not None
    assert run(folder, trainer, Recorder(), seeds=1) == outcome and len(trainer.trained) == 2
    folder.trained("a", 0).broken.unlink()
    assert run(folder, fixed := Trainer(), Recorder(), seeds=1).failed == {} and fixed.trained == ["a, seed 0"]


def test_embeddings_that_cannot_be_read_are_a_break_down_too(tmp_path: Path) -> None:
    def measure(model: Path) -> Scores:
        if "cells/a" in str(model):
            raise Unusable("features own: not all finite")
        return Scores("accuracy", [1.0])

    measure.name = "set"  # type: ignore[attr-defined]
    assert run(Folder(tmp_path), Trainer(), measure, seeds=1).failed == {"a, seed 0": "features own: not all finite"}


@pytest.mark.parametrize("error", [AaspError("no such folder"), OSError(28, "disk full")])
def test_an_error_common_to_all_cells_stops_at_once(tmp_path: Path, error: Exception) -> None:
    folder, trainer = Folder(tmp_path), Trainer(a=error)
    with pytest.raises(type(error)):
        run(folder, trainer, Recorder())
    assert trainer.trained == ["a, seed 0"] and folder.trained("a", 0).failure is None
    assert run(folder, again := Trainer(), Recorder()).failed == {} and len(again.trained) == 4


def test_a_signal_ends_it_and_the_same_call_resumes(tmp_path: Path) -> None:
    folder, trainer = Folder(tmp_path), Trainer(b=75)
    assert run(folder, trainer, Recorder()).exit_code == 75
    assert trainer.trained == ["a, seed 0", "b, seed 0"]
    assert run(folder, again := Trainer(), Recorder()).exit_code == 0
    assert again.trained == ["b, seed 0", "a, seed 1", "b, seed 1"]


def test_a_stage_is_copied_whole_once(tmp_path: Path) -> None:
    trained, model = Folder(tmp_path).trained("a", 0), tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("1")
    trained.keep_stage(5, model)
    (model / "config.json").write_text("2")
    trained.keep_stage(5, model)  # a resumed run reports its last checkpoint again
    assert (trained.stage(5).model / "config.json").read_text() == "1"
    assert [path.name for path in trained.stage(5).path.iterdir()] == ["model"]
