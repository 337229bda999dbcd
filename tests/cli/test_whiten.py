"""`aasp whiten`: a model with another default vector, or one line with what to type."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import aasp
from aasp.cli.main import main
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=1, heads=2)
    folder = tmp_path_factory.mktemp("whiten") / "model"
    AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64)).save(folder)
    return folder


def test_a_model_with_a_whitened_vector_is_written(
    model: Path, hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "models/whitened"
    words = ["whiten", str(model), "--data", str(hums), "--out", str(out), "--directions", "4"]
    assert main([*words, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{out}: 4 directions scaled down, learned from 24 excerpts\n"
    made, wave = aasp.load(out), 0.1 * torch.randn(2, 16_000)
    assert made.config.whitened == 4 and made.whitening is not None
    with torch.no_grad():
        plain = aasp.load(model)(wave).clip
        torch.testing.assert_close(made.whitening(plain), made(wave).clip)
    assert main(words) == 2 and "output exists" in capsys.readouterr().err
    assert main(["info", str(out)]) == 0
    assert "whitened on" in (shown := capsys.readouterr().out) and f"24 excerpts of {hums}, seed 0" in shown
    assert main([*words, "--overwrite"]) == 0 and aasp.load(out).digest == made.digest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data is missing: `aasp whiten MODEL --data recordings`"),
        (["--data", "HUMS"], "--out is missing: `aasp whiten MODEL --data HUMS --out models/whitened`"),
        (["--data", "gone", "--out", "o"], "no such"),
        (["--data", "HUMS", "--out", "o", "--directions", "0"], "--directions is 0; give a positive number"),
        (["--data", "HUMS", "--out", "o", "--seed", "-1"], "--seed is -1; give 0 or a positive number"),
        (
            ["--data", "HUMS", "--out", "o", "--excerpts", "5"],
            "5 excerpts of HUMS for 4 directions; at least 6 are needed",
        ),
        (["--data", "HUMS", "--out", "o", "--directions", "16"], "has 16 numbers; give at most 15"),
        (["--data", "HUMS", "--out", "HUMS/0.wav/o"], "output lies below a file"),
        (["--data", "HUMS", "--out", "HUMS", "--overwrite"], "holds something else than a model"),
        (["--data", "HUMS", "--out", "o", "--directions", "15"], "example clips differ in fewer than 16"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    words: list[str],
    message: str,
    model: Path,
    hums: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["whiten", str(model), *(word.replace("HUMS", str(hums)) for word in words)]) == 2
    error = capsys.readouterr().err
    text = error.replace(str(model), "MODEL").replace(str(hums), "HUMS")
    assert message in text and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_classifier_keeps_its_classes(
    model: Path, hums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "classifier", tmp_path / "encoder"
    AudioClassifier(AudioClassifierConfig(("a", "b"), encoder=aasp.load(model).config)).save(folder)
    words = ["whiten", str(folder), "--data", str(hums), "--out"]
    assert main([*words, str(folder), "--overwrite"]) == 2
    assert "is a classifier, which would lose its classes; choose another --out" in capsys.readouterr().err
    assert main([*words, str(out)]) == 0
    assert "is a classifier: this is its encoder, without its classes" in capsys.readouterr().out
    assert aasp.load(out).config.whitened == 4
