"""`aasp ablate` from end to end on generated sounds: trained and measured once, resumed, and shared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.aliasing.ablation.suite import SUITES, Cell, Suite
from aasp.cli.main import main
from aasp.compare import measures
from aasp.compare.folder import Folder
from aasp.datasets.demo import Size

SMALL = {
    "model.encoder.width": "16", "model.encoder.depth": "1",
    "model.vector": "none", "model.encoder.heads": "2", "predictor.width": "16",
    "predictor.depth": "1", "predictor.heads": "2", "losses.projector": "16,8", "data.batch": "4",
    "masking.views": "2", "teacher.layers": "1",
}  # fmt: skip
TOY = Suite("toy", "a toy", (Cell("full", "all", SMALL), Cell("conv", "AaPE?", SMALL | {"model.stem": "conv"}, "full")))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "toy", TOY)
    monkeypatch.setattr(measures.demo, "Size", lambda notes: Size(notes, (2, 1, 1)))


def ablate(hums: Path, out: Path, *more: str) -> int:
    benchmark = f"{hums / 'index.csv'}:label:split:speaker"
    return main(["ablate", "toy", "--data", str(hums), "--out", str(out), "--benchmarks", benchmark, *more])


@pytest.mark.slow
def test_from_end_to_end(hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ablation"
    assert ablate(hums, out, "--steps=2", "--seeds=1", "--cells=conv") == 0
    first = (out / "cells/conv/seed-0/model/model.safetensors").stat().st_mtime_ns
    capsys.readouterr()

    assert ablate(hums, out, "--seeds=1") == 0  # as many steps as the cells there
    output = capsys.readouterr().out
    assert output.count("training ") == 1 and "training full, seed 0" in output
    assert (out / "cells/conv/seed-0/model/model.safetensors").stat().st_mtime_ns == first
    assert not list(out.glob("cells/*/*/checkpoints"))
    result = json.loads((out / "ablation.json").read_text())
    assert [(row["measure"], row["cell"], len(row["seeds"])) for row in result["rows"]] == [
        (measure, cell, 1) for measure in (hums.name, "modulations") for cell in ("full", "conv")
    ]
    conv = result["rows"][1]
    assert conv["score"]["clips"] == 8 and conv["score"]["clusters"] == 2 and conv["chance"] == 0.5
    assert conv["differences"][0]["against"] == "full"
    assert set(conv["details"][0]["valid by layer"]) == {"0", "1"}
    assert result["settings"]["steps"] == 2 and result["command"].startswith("aasp ablate toy --data")
    assert result["cells"][1]["changes"]["model.stem"] == "conv" and result["cells"][1]["seeds"] == 1
    assert result["rows"][2]["chance"] == 1 / 8

    assert ablate(hums, out, "--seeds=1") == 0
    assert "training" not in (output := capsys.readouterr().out) and "measuring" not in output

    assert ablate(hums, out, "--steps=3") == 2
    assert "has steps = 2, this one 3; choose another --out" in capsys.readouterr().err


@pytest.mark.slow
def test_cells_that_another_process_runs_are_skipped_and_named(
    hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "shared")
    folder.path.mkdir()
    folder.write_settings({"recipe": "aasp_tiny", "steps": 1, "data": str(hums)})
    with folder.trained("full", 0).taken() as ours:
        assert ours and ablate(hums, folder.path, "--seeds=1") == 0
    output = capsys.readouterr().out
    assert "not here: full, seed 0: another process works on it" in output
    assert "| conv |" in output and "| full |" not in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "how long to train? give --steps N or --budget MINUTES"),
        (["--steps=2", "--budget=1"], "both --steps 2 and --budget 1; give one of them"),
        (["--steps=0"], "--steps is 0; give a positive number"),
        (["--steps=2", "--seeds=0"], "--seeds is 0; give at least 1"),
        (["--steps=2", "--cells=cnv"], "'cnv' is unknown; did you mean 'conv'"),
        (["--steps=2", "--benchmarks=esc50"], "--benchmarks esc50: write NAME=ROOT, or INDEX:LABEL:SPLIT"),
        (["--steps=2", "--benchmarks=no.csv:label:split"], "no.csv"),
        (["--steps=2", "--data=nowhere"], "no such folder or index: nowhere"),
        (["--steps=2", "--stability=nowhere"], "no such folder or index: nowhere"),
        (["--budget=nan"], "--budget is nan; give a finite number"),
        (["--budget=inf"], "--budget is inf; give a finite number"),
        (["--steps=2", "--workers=-1"], "--workers is -1; give 1 or more, or 0 to decode between the steps"),
        (["--steps=2", "--threads=0"], "--threads is 0; give a number of at least 1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    out = tmp_path / "out"
    assert main(["ablate", "toy", "--data", str(hums), "--out", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not out.exists()


def test_an_unknown_suite_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "stems", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--steps=1"]) == 2
    assert "suite 'stems' is unknown; did you mean 'stem'" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_an_unusable_clip_is_reported_before_training(
    hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    index = tmp_path / "set" / "index.csv"
    index.parent.mkdir()
    soundfile.write(index.with_name("bad.wav"), np.zeros(round(16_000 * seconds)), 16_000)
    clips = [hums / f"{n}.wav" for n in range(3)]
    rows = [f"{clips[0]},a,train", "bad.wav,b,train", f"{clips[1]},a,test", f"{clips[2]},b,test"]
    index.write_text("\n".join(["path,label,split", *rows]))
    out, benchmark = tmp_path / "out", f"{index}:label:split"
    assert main(["ablate", "toy", "--data", str(hums), "--out", str(out), "--steps=1", "--benchmarks", benchmark]) == 2
    error = capsys.readouterr().err
    assert "bad.wav" in error and error.count("\n") == 1 and not out.exists()


def test_an_output_that_is_something_else_is_kept(
    hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert ablate(hums, tmp_path, "--steps=1") == 2
    assert "neither empty nor an ablation" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_a_budget_becomes_steps(hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate(hums, tmp_path / "out", "--budget=0.005", "--seeds=1", "--cells=conv") == 0
    output = capsys.readouterr().out
    steps = json.loads((tmp_path / "out/settings.json").read_text())["steps"]
    assert "timing conv:" in output and f"{steps} steps each" in output
