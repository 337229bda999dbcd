"""`aasp info` on a model, a run, a manifest and a sound file, from headers alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main
from aasp.cli.show import facts
from aasp.formats import duration_text


def shown(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The output of `aasp info …` with its columns one space apart."""
    assert main(["info", *map(str, argv)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return "\n".join(" ".join(line.split()) for line in captured.out.splitlines())


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["info", *map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
    from aasp.model.encoder import EncoderConfig
    from aasp.stems.conv import ConvConfig

    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(config).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step-00000020").mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps({"name": "aasp_tiny", "steps": 40}))
    lines = [{"step": 10, "loss": 3.0}, {"step": 20, "loss": 2.5, "losses/frame": 0.25, "diagnostics/rank": None}]
    start = {"time": "then", "torch": "2.13.0", "device": "cpu", "precision": "bf16", "threads": 2, "processes": 1}
    data = {"data": "pool", "files": 1234, "hours": 3.5}
    (folder / "environment.json").write_text(json.dumps([start, start | data | {"time": "later"}]))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_sound_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((4000, 2), np.float32), 8000, subtype="PCM_16")
    out = shown(capsys, tmp_path / "a.wav")
    for line in ("duration 0.5 s (4,000 frames)", "rate 8,000 Hz", "channels 2", "Signed 16 bit PCM"):
        assert line in out


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_manifest(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.table({"path": [f"{i}.wav" for i in range(20)], "seconds": [4.5] * 20, "label": ["b", "a"] * 10})
    write = pa.csv.write_csv if suffix == ".csv" else pa.parquet.write_table
    write(table, tmp_path / f"index{suffix}")
    out = shown(capsys, tmp_path / f"index{suffix}")
    for line in ("files 20", "duration 1 min 30 s", "columns 3", "path 20 values", "label a, b"):
        assert line in out


def test_a_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aasp.model.audio_encoder import load

    out = shown(capsys, model)
    count = sum(tensor.numel() for tensor in load(model).state_dict().values())
    for line in (f"parameters {count:,}", "stem.kind conv", "encoder.width 8", "frontend.mean -4.268"):
        assert line in out


def test_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, run)
    lines = ["recipe aasp_tiny", "step 20 of 40", "losses/frame 0.25", "checkpoints step-00000020"]
    lines += [
        "data pool: 1,234 files, 3.50 h",
        "started then, resumed 1 ×, last later",
        "1 × 2 threads, torch 2.13.0",
    ]
    for line in lines:
        assert line in out
    assert "rank" not in out, "a number that was not finite is not shown as None"
    assert "model not finished yet" in out


def test_a_run_that_has_not_logged_yet(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "metrics.jsonl").unlink()
    (run / "checkpoints" / "step-00000020").rmdir()
    out = shown(capsys, run)
    assert "step 0 of 40" in out and "checkpoints none yet" in out


def finetuned(folder: Path, part: str) -> Path:
    """The files of a fine-tuning that `aasp info` reads."""
    folder.mkdir(parents=True)
    clips = {"train": 1200, "valid": 40, "test": 50}
    settings = {
        "model": "runs/base",
        "scratch": False,
        "data": "esc50",
        "source": "ESC-50",
        "round": part,
        "classes": 50,
    }
    (folder / "recipe.json").write_text(
        json.dumps({"name": "esc50", "steps": 40, "finetuned": {**settings, "clips": clips}})
    )
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 20, "loss": 2.5}) + "\n")
    start = {"time": "then", "torch": "2.13.0", "device": "cpu", "precision": "bf16", "threads": 2, "processes": 1}
    (folder / "environment.json").write_text(json.dumps([{**start, **settings, "clips": clips}]))
    scored = [{"step": 10, "score": 0.5, "best": True}, {"step": 20, "score": 0.4, "best": False}]
    (folder / "validation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in scored))
    return folder


def scores(folder: Path, low: float | None = 0.8, high: float | None = 0.85) -> None:
    interval = {"estimate": 0.825, "low": low, "high": high, "level": 0.95}
    (folder / "results.json").write_text(json.dumps({"records": [], "scores": {"accuracy": interval}}))


def test_a_fine_tuning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finetuned(tmp_path / "run", "test")
    out = shown(capsys, run)
    lines = ["fine-tunes runs/base", "data esc50 (ESC-50), 50 classes", "clips 1,200 train, 40 valid, 50 test"]
    lines += ["step 20 of 40", "best on valid 50.0 % at step 10", "model not finished yet", "started then"]
    for line in lines:
        assert line in out
    assert "test accuracy" not in out
    scores(run)
    assert "test accuracy 82.5 [80.0, 85.0] %" in shown(capsys, run)
    scores(run, None, None)
    assert "test accuracy 82.5 [too few to tell] %" in shown(capsys, run)


def test_numbers_are_no_percentages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finetuned(tmp_path / "run", "test")
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**recipe, "loss": "squared"}))
    found = {"R2": {"estimate": 0.61, "low": 0.5, "high": 0.7}, "MAE": {"estimate": 12.3, "low": 11.0, "high": 13.9}}
    (run / "results.json").write_text(json.dumps({"records": [], "scores": found}))
    out = shown(capsys, run)
    for line in ("best on valid 0.5 at step 10", "test R2 0.61 [0.5, 0.7]", "test MAE 12.3 [11, 13.9]"):
        assert line in out
    assert "%" not in out


def test_a_fine_tuning_of_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in ("1", "2", "10"):
        finetuned(tmp_path / "run" / f"fold-{fold}", fold)
    (tmp_path / "run/fold-1/predictions.npz").touch()
    (tmp_path / "run/fold-10/validation.jsonl").unlink()
    (tmp_path / "run/fold-10/metrics.jsonl").unlink()
    out = shown(capsys, tmp_path / "run")
    lines = ["recipe esc50", "fine-tunes runs/base", "data esc50 (ESC-50), 50 classes"]
    lines += ["fold-1 step 20 of 40, best on valid 50.0 % at step 10, tested"]
    lines += ["fold-2 step 20 of 40, best on valid 50.0 % at step 10, not finished yet"]
    lines += ["fold-10 step 0 of 40, not finished yet"]
    assert [out.index(line) for line in lines] == sorted(out.index(line) for line in lines)
    scores(tmp_path / "run")
    assert "test accuracy 82.5 [80.0, 85.0] %" in shown(capsys, tmp_path / "run")


def test_a_classifier(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
    from aasp.model.audio_encoder import load

    names = tuple(f"class {number}" for number in range(30))
    AudioClassifier(AudioClassifierConfig(names, encoder=load(model).config)).save(tmp_path / "classifier")
    out = shown(capsys, tmp_path / "classifier")
    assert out.startswith("classifier ") and "classes 30: class 0, class 1, " in out and "class 29" not in out
    for line in ("head 270", "multilabel False", "clip_seconds 10", "encoder.encoder.width 8"):
        assert line in out


def test_statistics_are_no_parameters(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
    from aasp.model.audio_encoder import AudioEncoder, load

    config = replace(load(model).config, whitened=2)
    encoder = AudioEncoder(config)
    encoder.save(tmp_path / "whitened")
    made = AudioClassifier(AudioClassifierConfig(("a", "b"), norm="batch", encoder=config))
    made.save(tmp_path / "classifier")
    for folder, module in (("whitened", encoder), ("classifier", made)):
        count = sum(parameter.numel() for parameter in module.parameters())
        assert f"parameters {count:,}" in shown(capsys, tmp_path / folder)


def test_a_long_name_leaves_room_for_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    facts("heading", {"a very long name " * 20: "its value", "short": "another"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-3:] == ["name", "its", "value"] and lines[2].split() == ["short", "another"], (
        "in a pipe a row is a line"
    )


def test_a_path_that_is_neither_model_run_nor_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"neither a model, a run nor an index: {tmp_path}" in refused(capsys, tmp_path)
    assert "no such file or folder" in refused(capsys, tmp_path / "nothing")
    for name in ("tiny.onnx", "vectors.npz"):
        (tmp_path / name).write_bytes(b"1")
        assert f"{tmp_path / name}: not sound; an exported model is for --engine onnx" in refused(
            capsys, tmp_path / name
        )


def test_a_model_with_a_missing_or_wrong_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(b"not weights")
    assert f"not readable as safetensors: {weights}" in refused(capsys, model)
    weights.unlink()
    assert f"no such file: {weights}" in refused(capsys, model)
    (model / "config.json").write_text("{")
    assert f"not readable as JSON: {model / 'config.json'}" in refused(capsys, model)


def test_torch_is_not_needed(model: Path, run: Path, tmp_path: Path) -> None:
    folds = finetuned(tmp_path / "folds" / "fold-1", "1").parent
    script = (
        "import sys; from aasp.cli.main import main\n"
        "for path in sys.argv[1:]: assert main(['info', path]) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    paths = map(str, (model, run, folds, folds / "fold-1"))
    subprocess.run([sys.executable, "-c", script, *paths], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.25, "0.25 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (90061, "25 h 1 min")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration_text(seconds) == expected


def test_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `aasp index` writes it; nothing but its JSON is read."""
    document = {"format": 1, "model": {"name": "aasp-tiny", "digest": "0123456789abcdef"}, "root": "/sounds"}
    document |= {"settings": {"vector": "own", "window": None, "precision": "fp32"}, "width": 1920, "rows": 1234}
    (tmp_path / "index.json").write_text(json.dumps(document))
    assert main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for name, value in (("rows", "1,234"), ("dimensions", "1,920"), ("model", r"aasp-tiny \(0123456789ab\)")):
        assert re.search(rf"{name}\s+{value}", out)
    assert "window" not in out
    (tmp_path / "index.json").write_text(json.dumps({"rows": "many"}))
    assert "index.json" in refused(capsys, tmp_path)


def test_a_model_of_the_package_is_found_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "aasp-tiny"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"whitened\s+128", out) and "window_seconds" in out
