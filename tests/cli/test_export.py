"""`aasp export`: one file, checked, or one line with the reason."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import aasp
from aasp.cli.export import SUFFIXES, _neighbours
from aasp.cli.main import main
from aasp.deploy.graph import window_samples
from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    size = EncoderConfig(width=64, depth=1, heads=2)
    encoder = AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64))
    folder = tmp_path_factory.mktemp("model") / "model"
    encoder.save(folder)
    return str(folder)


def sound(path: Path, seconds: float = 1.0) -> str:
    random = np.random.default_rng(0)
    soundfile.write(path, 0.1 * random.normal(size=round(16_000 * seconds)), 16_000)
    return str(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "model.pt"], "no such format: model.pt; end it in .onnx, as --to onnx writes"),
        (["--out", "model.onnx", "--to", "openvino"], "end it in .xml, as --to openvino writes"),
        (["--out", "model.xml", "--to", "openvino", "--int8", "a.wav"], "--int8 with --to openvino"),
        (["--out", "model.onnx", "--to", "executorch"], "end it in .pte, as --to executorch writes"),
        (["--out", "model.pte", "--to", "executorch", "--opset", "18"], "--opset with --to executorch"),
        (["--out", "."], "no such format"),
        (["--out", "model.onnx", "--opset", "3"], "no such opset here: 3; give one of 18 to 23"),
        (["--out", "model.onnx", "--int8", "empty"], "no audio to calibrate with: empty"),
        (["--out", "old.onnx"], "output exists: old.onnx; choose another name or add --overwrite"),
        (["--out", "file/model.onnx"], "output lies below a file"),
        ([], "--out is missing: `aasp export MODEL --out model.onnx`"),
        (["--to", "web"], "--out is missing: `aasp export MODEL --to web --out web/model`"),
        (["--out", "model.onnx", "--int8"], "--int8 without a value; give one after it, or leave it out"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    words: list[str], message: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.onnx").write_bytes(b"old")
    (tmp_path / "file").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", model, *words]) == 2
    error = capsys.readouterr().err
    assert message.replace("MODEL", model) in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "old.onnx").read_bytes() == b"old"


def test_neighbours_are_an_encoder_s(model: str, tmp_path: Path, capsys) -> None:
    config = AudioClassifierConfig(("dog", "rain"), encoder=load(model).config)
    AudioClassifier(config).save(tmp_path / "classes")
    words = ["--to", "web", "--neighbours", str(tmp_path), "--out", str(tmp_path / "page")]
    assert main(["export", str(tmp_path / "classes"), *words]) == 2
    assert "with a classifier, which has its own classes; leave it out\n" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_a_missing_model_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["export", str(tmp_path / "gone"), "--out", str(tmp_path / "a.onnx")]) == 2
    assert "gone" in capsys.readouterr().err


def test_an_export_given_as_a_model_is_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.onnx").write_bytes(b"")
    assert main(["embed", str(tmp_path / "a.onnx"), sound(tmp_path / "a.wav"), "--out", str(tmp_path / "a.npz")]) == 2
    assert "an exported model, not a folder; add --engine onnx" in capsys.readouterr().err


@pytest.mark.slow
def test_embed_by_the_exported_model_gives_the_same(model: str, tmp_path: Path, capsys) -> None:
    files = [sound(tmp_path / "a.wav"), sound(tmp_path / "b.wav", 2.3)]
    exported = str(tmp_path / "model.onnx")
    assert main(["export", model, "--to", "onnx", "--out", exported]) == 0
    assert "of PyTorch on noise, a tone and silence" in capsys.readouterr().out
    assert main(["embed", model, *files, "--frames", "--out", str(tmp_path / "torch.npz")]) == 0
    assert main(["embed", exported, *files, "--frames", "--engine", "onnx", "--out", str(tmp_path / "onnx.npz")]) == 0
    ours, theirs = (np.load(tmp_path / f"{name}.npz") for name in ("onnx", "torch"))
    assert set(ours) == set(theirs)
    for name in ("embedding", "frames", "seconds"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_eight_bits_from_a_folder_of_sounds(model: str, tmp_path: Path, capsys) -> None:
    for number in range(4):
        sound(tmp_path / f"{number}.wav")
    out = tmp_path / "small" / "model.onnx"
    assert main(["export", model, "--window", "--int8", str(tmp_path), "--out", str(out)]) == 0
    assert "8-bit integers scaled by 4 sounds" in capsys.readouterr().out
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.slow
def test_no_file_beside_openvinos_is_overwritten(model: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "tiny.bin").write_text("mine")
    assert main(["export", model, "--to", "openvino", "--window", "--out", str(tmp_path / "tiny.xml")]) == 2
    assert "output exists" in capsys.readouterr().err and (tmp_path / "tiny.bin").read_text() == "mine"


def test_every_label_has_neighbours(tmp_path: Path) -> None:
    for label, count in (("birds", 128), ("cat", 1), ("dog", 2)):
        (tmp_path / label).mkdir()
        for number in range(count):
            soundfile.write(tmp_path / label / f"{number}.wav", np.full(1_600, 0.1 * (number % 3)), 16_000)
    labels, vectors = _neighbours(aasp.load("aasp-tiny"), tmp_path)
    assert Counter(labels) == {"birds": 32, "cat": 1, "dog": 2} and len(vectors) == 35  # 42 of each at most, evenly
    with pytest.raises(AaspError, match="has 129 labels, and a page can show 128; choose some"):
        for number in range(129):
            (tmp_path / "many" / str(number)).mkdir(parents=True)
        _neighbours(aasp.load("aasp-tiny"), tmp_path / "many")


def test_openvino_is_two_files(model: str, tmp_path: Path, capsys) -> None:
    pytest.importorskip("openvino")
    out = tmp_path / "model.xml"
    assert main(["export", model, "--to", "openvino", "--window", "--out", str(out)]) == 0
    assert "of PyTorch" in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml"]


@pytest.mark.slow
def test_executorch_is_one_window(model: str, tmp_path: Path, capsys) -> None:
    runtime = pytest.importorskip("executorch.runtime")
    out = tmp_path / "model.pte"
    assert main(["export", model, "--to", "executorch", "--out", str(out)]) == 0
    assert "of PyTorch" in capsys.readouterr().out and list(tmp_path.iterdir()) == [out]
    program, encoder = runtime.Runtime.get().load_program(out), load(model)
    described = {name: program.load_method(name).execute([])[0] for name in ("sample_rate", "samples", "kind")}
    assert described == {"sample_rate": 16_000, "samples": window_samples(encoder.config), "kind": "encoder"}
    wave = 0.1 * torch.randn(1, described["samples"])
    clip, *_ = program.load_method("forward").execute([wave])
    with torch.inference_mode():
        torch.testing.assert_close(clip, encoder(wave).clip, rtol=0, atol=1e-5)


def test_a_missing_runtime_is_named_with_its_extra(model: str, tmp_path: Path, capsys, monkeypatch) -> None:
    for name, package in {"executorch": "executorch.exir", "openvino": "openvino"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        suffix = SUFFIXES[name]
        assert main(["export", model, "--to", name, "--out", str(tmp_path / f"model{suffix}")]) == 2
        assert (
            f"package missing: {package}; install it with `pip install 'aasp-audio[{name}]'`" in capsys.readouterr().err
        )
    assert not list(tmp_path.iterdir())
