"""`aasp linear`: the table and the record agree with the library; every mistake is one line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

Index = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "model"
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(config).save(folder)
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty short tones: ten low, ten in the middle, ten high."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    time = np.arange(4000) / 16_000
    for i in range(30):
        tone = 0.3 * np.sin(2 * np.pi * (200, 800, 3200)[i % 3] * rng.uniform(0.8, 1.2) * time)
        soundfile.write(folder / f"{i}.wav", tone + 0.01 * rng.standard_normal(4000), 16_000)
    return folder


@pytest.fixture
def index(sounds: Path, tmp_path: Path) -> Index:
    """Writes an index of the tones; columns are functions of the row number."""

    def write(**columns: Callable[[int], object]) -> Path:
        path = tmp_path / "index.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", *columns])
            writer.writerows([sounds / f"{i}.wav", *(value(i) for value in columns.values())] for i in range(30))
        return path

    return write


def pitch(i: int) -> str:
    return ("low", "middle", "high")[i % 3]


def part(i: int) -> str:
    return "train" if i < 15 else "valid" if i < 21 else "test"


def shown(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["linear", *map(str, argv)]) == 0
    return "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())


def test_a_split(model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = index(label=pitch, split=part, take=lambda i: i // 3)
    record_path = tmp_path / "x.json"
    asked = ["--index", path, "--label", "label", "--split", "split", "--group", "take", "--json", record_path]
    out = shown(capsys, model, *asked)
    record = json.loads(record_path.read_text())
    assert set(record["scores"]) == {"accuracy", "macro_f1"}
    assert record["scores"]["accuracy"]["estimate"] >= 0.8, "tones two octaves apart"
    assert record["scores"]["accuracy"]["clusters"] == 3
    (only,) = record["rounds"]
    assert only["clips"] == {"train": 15, "valid": 6, "test": 9}
    right = [guess["truth"] == guess["predicted"] for guess in record["predictions"]]
    assert np.mean(right) == record["scores"]["accuracy"]["estimate"] == only["test"]
    assert [Path(guess["path"]).stem for guess in record["predictions"]] == [str(i) for i in range(21, 30)]
    assert [guess["truth"] for guess in record["predictions"]] == [pitch(i) for i in range(21, 30)]
    assert f"accuracy {100 * np.mean(right):.1f} [" in out and "3 × take" in out and "9 scored of 30, 3 classes" in out
    assert f"{only['layer']} {only['pooling']}" in out


def test_folds_and_chosen_candidates(
    model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index(label=pitch, fold=lambda i: i // 10)
    asked = ["--index", path, "--label", "label", "--split", "fold", "--pooling", "mean", "flat", "--layer", "1"]
    shown(capsys, model, *asked, "--json", tmp_path / "x.json")
    record = json.loads((tmp_path / "x.json").read_text())
    assert [one["part"] for one in record["rounds"]] == ["0", "1", "2"]
    assert len(record["predictions"]) == 30
    for one in record["rounds"]:
        assert {(c["layer"], c["pooling"]) for c in one["valid"]} == {(1, "mean"), (1, "flat")}


def test_several_labels(model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = index(label=lambda i: pitch(i) + (";odd" if i % 2 else ""), split=part)
    shown(capsys, model, "--index", path, "--label", "label", "--split", "split", "--json", tmp_path / "x.json")
    record = json.loads((tmp_path / "x.json").read_text())
    assert set(record["scores"]) == {"mAP"} and record["classes"] == ["high", "low", "middle", "odd"]
    assert record["predictions"][0]["truth"] == ["low", "odd"]


def test_notes_and_skipped_files_are_shown(
    model: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index(label=lambda i: "rare" if i == 29 else pitch(i), split=part)
    soundfile.write(tmp_path / "nan.wav", np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "empty.wav").touch()
    with path.open("a") as file:
        file.write("nan.wav,low,train\nempty.wav,low,test\n")
    argv = [model, "--index", path, "--label", "label", "--split", "split", "--json", tmp_path / "x.json"]
    assert main(["linear", *map(str, argv)]) == 0
    captured = capsys.readouterr()
    assert "1 label(s) only in the test part, never predicted: rare" in captured.out
    assert "skipped 2" in " ".join(captured.out.split())
    assert "nan.wav: NaN" in captured.err and "empty.wav: empty file" in captured.err
    record = json.loads((tmp_path / "x.json").read_text())
    assert {Path(file["path"]).name for file in record["skipped"]} == {"nan.wav", "empty.wav"}
    assert record["rounds"][0]["clips"] == {"train": 15, "valid": 6, "test": 9}
    assert record["predictions"][-1]["truth"] == "rare" != record["predictions"][-1]["predicted"]


@pytest.mark.parametrize(
    ("label", "asked", "told"),
    [
        (lambda i: "low" if i < 15 else "high" if i < 21 else "new", (), "none of test part"),
        (pitch, ("--label", "genre"), "no column 'genre'"),
        (pitch, ("--group", "speaker"), "no column 'speaker'"),
        (pitch, ("--layer", "2"), "no such layer: 2"),
        (pitch, ("--pooling", "max"), "no such pooling: max"),
        (pitch, ("--layer", "0", "--pooling", "cls"), "the same for every clip"),
    ],
)
def test_mistakes_are_one_line(
    label: Callable[[int], str],
    asked: tuple[str, ...],
    told: str,
    model: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = index(label=label, split=part)
    argv = {"--index": str(path), "--label": "label", "--split": "split", "--json": str(tmp_path / "x.json")}
    argv |= dict(zip(asked[::2], asked[1::2], strict=True))
    assert main(["linear", str(model), *(word for pair in argv.items() for word in pair)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and told in captured.err
    assert captured.out == "" and not (tmp_path / "x.json").exists()
