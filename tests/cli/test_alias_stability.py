"""`aasp alias stability`: what it writes and prints, and its errors for unusable clips and columns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.aliasing.stability import document
from aasp.cli.main import main
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

CLIPS = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a set of ten clips of which one is too short, and an index of them."""
    folder = tmp_path_factory.mktemp("stability")
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    for seed in (0, 1):
        torch.manual_seed(seed)
        AudioEncoder(config).save(folder / f"run{seed}" / "same")
    rng = np.random.default_rng(0)
    lines = ["path,label,src,often"]
    for number in range(CLIPS + 1):
        seconds = 0.5 if number == CLIPS else 1.1
        (folder / "clips").mkdir(exist_ok=True)
        wave = 0.1 * rng.standard_normal(round(16_000 * seconds)).cumsum() / 30
        soundfile.write(folder / "clips" / f"{number}.wav", wave - wave.mean(), 16_000)
        lines.append(f"clips/{number}.wav,{'ab'[number % 2]},{number // 2},{'x' * (number % 2)}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def argv(folder: Path, tmp_path: Path) -> list[str]:
    models = [str(folder / f"run{seed}" / "same") for seed in (0, 1)]
    index = str(folder / "index.csv")
    return ["alias", "stability", *models, "--data", index, "--seconds", "0.7", "--out", str(tmp_path / "out")]


@pytest.mark.slow
def test_a_full_run(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "RESAMPLES", 50)
    monkeypatch.setattr(document, "QUICK", 20)
    assert main([*argv, "--label", "label", "--group", "src"]) == 0
    out, err = capsys.readouterr()
    found = json.loads((tmp_path / "out" / "stability.json").read_text())
    assert (found["clips"], found["groups"], found["seconds"]) == (CLIPS, 5, 0.7)
    assert [Path(path).name for path in found["paths"]] == [f"{n}.wav" for n in range(CLIPS)]
    assert [Path(one["path"]).name for one in found["skipped"]] == ["9.wav"]
    assert "9.wav: 0.5 s long, 1.02 s are needed" in err
    # Folders of one name: the models are called as they were typed.
    assert [model["name"] for model in found["models"]] == argv[2:4]
    assert found["models"][0]["rows"]["AM 9 Hz"]["flips"] is not None
    assert found["command"].startswith("aasp alias stability ") and found["software"].startswith("aasp ")
    assert "fast AM" in out and "modulation rate decoded" in out
    sounds = {path.name for path in (tmp_path / "out" / "sounds").iterdir()}
    assert sounds == {one["file"] for one in found["sounds"]}
    assert len(sounds) == 4

    assert main([*argv, "--label", "label", "--group", "src"]) == 2
    assert "output exists" in capsys.readouterr().err
    assert main([*argv, "--label", "label", "--group", "src", "--overwrite"]) == 0
    again = json.loads((tmp_path / "out" / "stability.json").read_text())
    assert {**again, "command": ""} == {**found, "command": ""}

    assert main(["alias", "report", str(tmp_path / "out")]) == 0
    assert main(["alias", "report", str(tmp_path / "out"), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--label", "colour"], "no column 'colour'; it has"),
        (["--group", "often"], "index.csv, column often: 5 of 10 clips have none, the first "),
        (["--seconds", "0.2"], "--seconds is 0.2; give 0.53 or more"),
        (["--seconds", "5"], "0 usable clip(s), 8 or more are needed"),
        (["--clips", "3"], "3 usable clip(s), 8 or more are needed"),
        (["--clips", "0"], "--clips is 0; give a number of at least 1"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    argv: list[str], more: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, *more]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_same_model_twice(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alias", "stability", argv[2], *argv[2:]]) == 2
    assert "two models are called" in capsys.readouterr().err


def test_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alias", "stability", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no model" in capsys.readouterr().err
