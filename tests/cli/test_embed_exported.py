"""`aasp embed --engine onnx`: every option gives what the model in PyTorch gives, or one line with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.deploy import runtime
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

SECONDS = {"a.wav": 1.0, "b.wav": 2.3, "c.wav": 0.03}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose own vector is of two layers and whitened, the same exported, and sounds."""
    torch.manual_seed(0)
    size = EncoderConfig(width=24, depth=2, heads=2)
    parts = {"vector": ("1:mean+std", "2:cls"), "whitened": 5}
    encoder = AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64, **parts))  # type: ignore[arg-type]
    assert encoder.whitening is not None
    encoder.whitening.directions.normal_(std=0.2)
    encoder.whitening.mean.normal_()
    place, random = tmp_path_factory.mktemp("exported"), np.random.default_rng(0)
    encoder.save(place / "model")
    for name, seconds in SECONDS.items():
        soundfile.write(place / name, 0.1 * random.normal(size=round(16_000 * seconds)), 16_000)
    assert main(["export", str(place / "model"), "--out", str(place / "model.onnx")]) == 0
    return place


def embed(folder: Path, out: Path, model: str, *options: str) -> int:
    return main(["embed", str(folder / model), *(str(folder / name) for name in SECONDS), "--out", str(out), *options])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "",
        "--frames",
        "--pooling mean flat+std",
        "--layer 2",
        "--layer 2 --pooling cls --frames",
        "--device cpu --precision fp32 --batch 1 --threads 1 --workers 0",
        "--channels each",
    ],
)
def test_embeddings_equal_those_of_pytorch(options: str, folder: Path, tmp_path: Path) -> None:
    assert embed(folder, tmp_path / "torch.npz", "model", *options.split()) == 0
    assert embed(folder, tmp_path / "onnx.npz", "model.onnx", "--engine", "onnx", *options.split()) == 0
    ours, theirs = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("onnx", "torch"))
    assert ours.keys() == theirs.keys() and ours["path"].tolist() == theirs["path"].tolist()
    for name in ours.keys() - {"path"}:
        assert ours[name].dtype == theirs[name].dtype
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--layer 1", "holds the last layer, 2, and no other; leave out layers, or take the model"),
        ("--layer 1 2 --pooling mean", "holds the last layer, 2, and no other"),
        ("--layer 0 --frames", "holds the last layer, 2, and no other"),
        ("--layer 3", "no such layer: 3; this encoder has 0 to 2"),
        ("--pooling max", "no such pooling: max"),
        (
            "--frames --hop 0.08",
            "hop 0.08 s: an exported model gives one vector per time patch; leave out hop, or use the",
        ),
        ("--device cuda:9", "no device cuda:9"),
        ("--device gpu", "no such device: gpu"),
        (
            "--precision bf16",
            "--precision bf16 with --engine onnx: an exported model runs on the CPU, in the precision of",
        ),
    ],
)
def test_unsupported_options_are_refused(
    options: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert embed(folder, tmp_path / "x.npz", "model.onnx", "--engine", "onnx", *options.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_recording_too_long_for_it_is_left_out_of_a_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime.OnnxEncoder, "longest", 2.0)
    model, out = str(folder / "model.onnx"), str(tmp_path / "x.npz")
    capsys.readouterr()
    assert main(["embed", model, str(folder), "--engine", "onnx", "--out", out]) == 0
    message = "b.wav: longer than an exported model takes at once, 2 s"
    assert message in capsys.readouterr().err and len(np.load(out)["path"]) == 2
    assert main(["embed", model, str(folder / "b.wav"), "--engine", "onnx", "--out", f"{out}.npz"]) == 2
    assert f"{message}; cut it, or use the model it was exported from" in capsys.readouterr().err
