"""`aasp alias kernels` and `aasp alias report`: one full run, and user mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.aape import AaPEConfig


@pytest.fixture
def model(tmp_path: Path) -> str:
    torch.manual_seed(0)
    config = AudioEncoderConfig(stem=AaPEConfig(states=4, encoder_width=16), encoder=EncoderConfig(16, 1, 2))
    AudioEncoder(config).save(tmp_path / "small")
    return str(tmp_path / "small")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    noise = 0.1 * np.random.default_rng(0).standard_normal(12_000).astype(np.float32)
    soundfile.write(tmp_path / "a clip.wav", noise, 16_000)
    return str(tmp_path / "a clip.wav")


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["alias", *argv]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("aasp: error: ") and shown.err.count("\n") == 1
    return shown.err


def test_a_full_run(model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found"
    assert main(["alias", "kernels", model, clip, clip, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "kernels of small" in shown and "frequencies at a bound" in shown and "kernels' power beyond 3.1 Hz" in shown
    found = json.loads((out / "kernels.json").read_text())
    assert found["command"].startswith("aasp alias kernels ") and "'" in found["command"]  # the space is quoted
    assert found["software"].startswith("aasp ")

    assert main(["alias", "report", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'report.html'}\n"
    page = (out / "report.html").read_text()
    assert "Patches alias modulations" in page and page.count("<svg") >= 10
    assert main(["alias", "report", str(out)]) == 0  # again: its own page is drawn again
    capsys.readouterr()

    assert "output exists" in complaint(capsys, "kernels", model, clip, "--out", str(out))
    (tmp_path / "mine.html").write_text("mine")
    assert "output exists" in complaint(capsys, "report", str(out), "--out", str(tmp_path / "mine.html"))
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_no_files(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no sound files" in complaint(capsys, "kernels", model, "--out", str(tmp_path / "x"))


def test_a_file_that_is_not_there(model: str, clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone.wav" in complaint(capsys, "kernels", model, clip, "gone.wav", "--out", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in complaint(capsys, "report", str(tmp_path / "x"))


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = complaint(capsys, "report", str(tmp_path))
    assert "nothing to report" in message and "stability.json, response.json, kernels.json, ablation.json" in message
    assert list(tmp_path.iterdir()) == []
