"""`aasp compare` from end to end on generated sounds: stopped, resumed, one recipe diverging; and bad input."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from aasp.aliasing.ablation import stability_metric
from aasp.cli.main import main
from aasp.compare import training
from aasp.compare.supervised import LabelledTask, Supervised
from aasp.model.audio_encoder import AudioEncoder
from aasp.planning.step import step_cost
from aasp.pretrain import recipes as known

RECIPES = """
from aasp.config import with_fields
from aasp.pretrain import recipes

SMALL = {
    "model.encoder.width": "16", "model.encoder.depth": "1",
    "model.vector": "none", "model.encoder.heads": "2", "predictor.width": "16",
    "predictor.depth": "1", "predictor.heads": "2", "data.batch": "4",
}
calm = lambda: with_fields(recipes.get("m2d_tiny"), SMALL)
wild = lambda: with_fields(calm(), {"optimizer.lr": "1e30", "optimizer.warmup": "0"})
"""


@pytest.fixture
def words(hums: Path, tmp_path: Path) -> list[str]:
    """The command's arguments, except recipes and budget."""
    benchmark = f"{hums / 'index.csv'}:label:split:speaker"
    more = ["--threads", "1", "--precision", "fp32", "--seeds", "1", "--out", str(tmp_path / "out")]
    return ["--data", str(hums), "--benchmarks", benchmark, *more]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two recipes in a file: one that learns, and one that diverges."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"mine_{tmp_path.name}.py").write_text(RECIPES)
    return [f"mine_{tmp_path.name}.py:{name}" for name in ("calm", "wild")]


@pytest.mark.slow
def test_a_stopped_comparison_resumes_and_is_reported(
    hums: Path, words: list[str], mine: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(words[-1])
    assert main(["compare", *mine, *words, "--steps", "8", "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("5 of 5 cells to do, 2 of them trainings (calm 8 steps, wild 8 steps): about ")
    assert "of training and " in output and " MB of disk (" in output and not out.exists()

    whole = training.pretrain

    def stopped(*arguments: Any, on_model: Any, **options: Any) -> Any:
        def on_first(step: int, model: Path) -> None:
            on_model(step, model)
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        return whole(*arguments, on_model=on_first, **options)

    monkeypatch.setattr(training, "pretrain", stopped)
    assert main(["compare", *mine, *words, "--steps", "8"]) == 75
    assert "stopped at step 3 of 8, saved; run the same command again to resume" in capsys.readouterr().out
    monkeypatch.setattr(training, "pretrain", whole)
    costs = json.loads((out / "settings.json").read_text())["recipes"]["calm"]
    assert costs["flops"] == step_cost(known.get(mine[0])).total.flops and costs["steps"] == 8

    systems = ["calm", "untrained-calm", "log-mel-40", "log-mel-128"]
    assert main(["compare", *mine, *words, "--steps", "8", "--last-only"]) == 0
    output = capsys.readouterr().out
    assert "3 of 5 cells to do, 2 of them trainings" not in output and "resuming from" in output
    rows = [row for row in json.loads((out / "comparison.json").read_text())["rows"] if "default" in row["question"]]
    assert [row["system"] for row in rows] == systems and all(row["last"] for row in rows)

    assert main(["compare", *mine, *words, "--steps", "8"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("1 of 5 cells to do, 0 of them trainings") and "training calm" not in output
    assert " about 0 s of training and " in output and " of embedding by one process, 0 MB of disk" in output
    found = json.loads((out / "comparison.json").read_text())
    assert list(found["failed"]) == ["wild, seed 0"] and "is not finite" in found["failed"]["wild, seed 0"]
    rows = [row for row in found["rows"] if row["question"] == f"{hums.name}, default vector"]
    assert [(row["system"], row["step"]) for row in rows] == [
        ("calm", 2), ("calm", 4), ("calm", 8), *((name, 0) for name in systems[1:]),
    ]  # fmt: skip
    assert all(row["score"]["clips"] == 8 and row["score"]["clusters"] == 2 for row in rows)
    assert 0 < rows[0]["seconds"] < rows[2]["seconds"] == found["recipes"]["calm"]["trained_seconds"]
    assert {path.suffix for path in out.glob("comparison.*")} == {".json", ".csv", ".md", ".html"}
    assert not list(out.glob("cells/calm/*/checkpoints"))

    assert main(["compare", *mine, *words, "--steps", "8"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("0 of 5 cells to do") and "training " not in output.partition("\n")[2]
    assert main(["compare", *mine, *words, "--steps", "8", "--benchmarks", "modulations", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("4 of 5 cells to do, 0 of them trainings")  # not the failed one
    index = hums / "index.csv"
    before = index.read_text()
    try:
        index.write_text(before.replace("low,train", "high,train", 1))
        assert main(["compare", *mine, *words, "--steps", "8"]) == 2
        assert "its clips, labels, parts or groups have changed since" in capsys.readouterr().err
    finally:
        index.write_text(before)
    assert main(["compare", *mine, *words, "--steps", "9"]) == 2
    assert "has budget = 8 steps, this one 9 steps; choose another --out" in capsys.readouterr().err
    assert main(["ablate", "isolation", "--data", str(hums), "--out", str(out), "--steps", "8"]) == 2
    assert "output holds another ablation" in capsys.readouterr().err


ENCODER = """
import torch

def loudness():
    return lambda wave: torch.stack([wave.abs().mean(1), wave.diff(dim=1).abs().mean(1)], 1)
"""


@pytest.mark.slow
def test_rows_that_are_not_pre_trained_here(
    hums: Path, words: list[str], mine: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(ENCODER)
    AudioEncoder(known.get(mine[0]).model).save(tmp_path / "ours")
    out, name = Path(words[-1]), hums.name
    steady = f"{hums / 'index.csv'}:speaker"
    rows = ["--scratch", mine[0], "--encoder", "own.py:loudness", "ours", "--stability", steady]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stability_metric, "SECONDS", 0.6)
        assert main(["compare", mine[0], *words, *rows, "--flops", "3e8"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("7 of 7 cells to do, 2 of them trainings (calm ")
    found = json.loads((out / "comparison.json").read_text())
    assert found["failed"] == {}
    cost, pre = found["supervised"][f"scratch-calm/{name}"], found["recipes"]["calm"]
    # As many steps as the FLOPs allow: a classifier on crops of a second, which is as long as the clips are.
    assert cost["steps"] == int(3e8 / cost["flops"]) and pre["steps"] == int(3e8 / pre["flops"])
    supervised = Supervised(known.get(mine[0]), LabelledTask(name, name, 2, 1, 1.0, 24.0))
    assert supervised.how().crop_seconds == 1.0 and supervised.how().layer_decay == 1.0
    assert cost["flops"] == supervised.step_cost().total.flops and cost["parameters"] == supervised.step_cost().trained
    last = {row["system"]: row for row in found["rows"] if row["question"] == f"{name}, default vector" and row["last"]}
    assert list(last) == ["calm", "untrained-calm", "scratch-calm", "loudness", "ours", "log-mel-40", "log-mel-128"]
    assert {row["score"]["clips"] for row in last.values()} == {8}
    assert last["scratch-calm"]["flops"] == cost["steps"] * cost["flops"] and last["scratch-calm"]["seconds"] > 0
    assert last["loudness"]["score"]["estimate"] == 1.0 and last["loudness"]["flops"] == 0
    # The same probe on the same clips: a frozen copy of the untrained encoder would score as it does.
    against = [p["difference"]["against"] for p in found["pairs"] if p["question"] == f"{name}, best layer"]
    assert against == ["untrained-calm", "scratch-calm", "loudness", "ours", "log-mel-40", "log-mel-128"]
    systems = [row["system"] for row in found["rows"] if row["question"] == "stability under shifts" and row["last"]]
    assert systems == ["calm", "untrained-calm", "loudness", "ours"]
    assert f"| scratch-calm/{name} | " in (out / "comparison.md").read_text()

    assert main(["compare", mine[0], *words, *rows[:2], "--flops", "3e8"]) == 0
    assert "0 of 5 cells to do" in capsys.readouterr().out
    AudioEncoder(known.get(mine[0]).model).save(tmp_path / "ours")
    assert main(["compare", mine[0], *words, *rows[:5], "--flops", "3e8"]) == 2
    assert "--encoder ours: " in (error := capsys.readouterr().err) and "another encoder as ours" in error


BUDGET = ["--steps", "4"]


@pytest.mark.parametrize(
    ("given", "options", "words_of_error"),
    [
        (["m2d_tny"], BUDGET, "recipe 'm2d_tny' is unknown; did you mean 'm2d_tiny'?"),
        (["nowhere.py:mine"], BUDGET, "no such file: nowhere.py"),
        (["m2d_tiny", "m2d_tiny"], BUDGET, "two recipes are called m2d_tiny"),
        (["m2d_tiny"], [], "no budget; give one of --steps N, --minutes M and --flops F"),
        (["m2d_tiny"], ["--steps=4", "--flops=3e15"], "--steps 4 and --flops 3e+15; give one of"),
        (["m2d_tiny"], ["--steps=0"], "--steps is 0; give a positive number"),
        (["m2d_tiny"], ["--minutes=0"], "--minutes is 0; give a positive number"),
        (["m2d_tiny"], ["--flops=-1"], "--flops is -1; give a positive number"),
        (["m2d_tiny"], [*BUDGET, "--seeds=0"], "--seeds is 0; give at least 1"),
        (["m2d_tiny"], [*BUDGET, "--set", "steps=3"], "--set steps=3: the budget says how many; leave it out"),
        (["m2d_tiny"], [*BUDGET, "--set", "optimiser.lr=3"], "unknown field 'optimiser'"),
        (["m2d_tiny"], [*BUDGET, "--benchmarks", "esc05=there"], "esc05"),
        (["m2d_tiny"], [*BUDGET, "--benchmarks", "esc50"], "--benchmarks esc50: write NAME=ROOT, or INDEX:LABEL:SPLIT"),
        (["m2d_tiny"], [*BUDGET, "--benchmarks", "no.csv:label:split"], "no.csv"),
        (["m2d_tiny"], [*BUDGET, "--data", "nowhere"], "no such folder or index: nowhere"),
        (["m2d_tiny"], [*BUDGET, "--stability", "nowhere"], "no such folder or index: nowhere"),
        (["m2d_tiny"], [*BUDGET, "--scratch", "m2d_tny"], "recipe 'm2d_tny' is unknown; did you mean 'm2d_tiny'?"),
        (
            ["m2d_tiny"],
            [*BUDGET, "--encoder", "nowhere"],
            "--encoder nowhere: no such encoder; give birdnet",
        ),
        (["m2d_tiny"], [*BUDGET, "--encoder", "absent.py:hear"], "no such file: absent.py"),
        (["m2d_tiny"], [*BUDGET, "--threads", "0"], "--threads is 0; give a number of at least 1"),
        (["m2d_tiny"], [*BUDGET, "--workers", "-1"], "--workers is -1; give 1 or more, or 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: list[str], capsys: pytest.CaptureFixture[str], given: list[str], options: list[str], words_of_error: str
) -> None:
    assert main(["compare", *given, *words, *options]) == 2
    error = capsys.readouterr().err
    assert words_of_error in error and error.count("\n") == 1 and not Path(words[-1]).exists()


def test_an_output_that_is_something_else_is_kept(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out = Path(words[-1])
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert main(["compare", "m2d_tiny", *words, *BUDGET]) == 2
    assert "neither empty nor a comparison" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
