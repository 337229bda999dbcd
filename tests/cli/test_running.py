"""Options for device, batch and precision: every command follows them; an unavailable device is one line."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.encoders import open_adapter
from aasp.errors import AaspError
from aasp.evaluate.protocol import Protocol
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig, load
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig
from aasp.training import engine

CONFIG = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=2, heads=2), window_seconds=1.28)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a model, one with a vector of its own, a classifier, a sound."""
    torch.manual_seed(0)
    AudioEncoder(CONFIG).save(tmp_path / "model")
    own = AudioEncoderConfig(CONFIG.frontend, CONFIG.stem, CONFIG.encoder, 1.28, vector=("1:mean", "2:std"))
    AudioEncoder(own).save(tmp_path / "own")
    AudioClassifier(AudioClassifierConfig(("a", "b"), encoder=CONFIG)).save(tmp_path / "classifier")
    soundfile.write(tmp_path / "dog.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "argv",
    [
        "embed model dog.wav --out x.npz",
        "linear model --benchmark folder --root .",
        "finetune model --benchmark folder --root . --out run",
        "predict classifier dog.wav",
        "pretrain aasp_tiny --data . --out run",
        "ablate stem --data . --out lab --steps 1",
        "alias stability model --data . --out lab",
        "alias response model --out lab",
        "alias kernels model dog.wav --out lab",
    ],
)
def test_a_missing_device_is_one_line_before_the_work(
    argv: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    before = sorted(folder.rglob("*"))
    for clip in ("a", "b"):
        (folder / clip).mkdir(exist_ok=True)
    assert main([*argv.split(), "--device", "cuda:1"]) == 2
    message = capsys.readouterr().err
    assert "no device cuda:1: this machine has cpu" in message and message.count("\n") == 1
    assert [path for path in sorted(folder.rglob("*")) if path.name not in "ab"] == before


@pytest.mark.parametrize("module", ["embed", "linear", "predict", "alias_stability"])
def test_commands_that_run_a_model_choose_its_precision(module: str) -> None:
    kind = {"embed": "Embed", "linear": "Linear", "predict": "Predict", "alias_stability": "Stability"}[module]
    made = getattr(importlib.import_module(f"aasp.cli.{module}"), kind)
    fields = made.__dataclass_fields__
    assert {"device", "precision"} <= set(fields) and ("batch" in fields or module == "alias_stability")
    assert fields["precision"].default == ("auto" if module in ("embed", "predict") else "fp32")


def test_a_batch_has_the_requested_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        soundfile.write(folder / f"{number}.wav", np.zeros(16_000), 16_000)
    sizes: list[int] = []
    forward = AudioEncoder.forward
    counted = lambda self, wave, *a, **k: sizes.append(len(wave)) or forward(self, wave, *a, **k)
    monkeypatch.setattr(AudioEncoder, "forward", counted)
    assert main(["embed", "model", ".", "--out", "x.npz", "--batch", "3"]) == 0
    assert sizes == [3, 3, 2]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_prediction_runs_in_the_requested_precision(
    precision: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = AudioEncoder.encode
    now = lambda: torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    monkeypatch.setattr(AudioEncoder, "encode", lambda self, *a: seen.append(now()) or encode(self, *a))
    assert main(["predict", "classifier", "dog.wav", "--precision", precision]) == 0
    assert seen == [{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]]
    assert capsys.readouterr().out.startswith("dog.wav\t")


def test_the_probe_embed_and_the_laboratory_read_the_same_vector(folder: Path) -> None:
    from aasp.evaluate.features import OWN, clip_features

    encoder = load("own")
    keys = Protocol.of("evar").keys(encoder)
    assert keys == [OWN] and Protocol.of("knn", ("own",)).keys(encoder) == [OWN]
    assert Protocol.of("evar").keys(load("model")) == [(2, "mean")]
    probed = clip_features(encoder, ["dog.wav"], keys)[OWN]
    assert main(["embed", "own", "dog.wav", "--out", "x.npz"]) == 0
    with np.load("x.npz") as arrays:
        np.testing.assert_allclose(arrays["embedding"], probed, atol=1e-6)
    from aasp.audio.io import read

    embedded = open_adapter("own").embed_waveform(torch.from_numpy(read("dog.wav"))[None])
    np.testing.assert_allclose(embedded.clip, probed, atol=1e-5)
    assert Protocol.of("evar").candidates({OWN: probed}).keys() == {("own", "own")}


@pytest.mark.parametrize(("layers", "poolings"), [(("own", "1"), ()), (("own",), ("mean",)), (("owned",), ())])
def test_options_that_conflict_with_the_own_vector(layers: tuple, poolings: tuple) -> None:
    with pytest.raises(AaspError, match=r"give it alone|no such layer: owned; give numbers from 0, own, or weighted"):
        Protocol.of("evar", layers, poolings)


def test_the_laboratory_takes_a_layer_and_a_precision(folder: Path) -> None:
    wave = torch.from_numpy(0.1 * np.random.default_rng(1).standard_normal((2, 16_000))).float()
    plain = open_adapter("model").embed_waveform(wave)
    middle = open_adapter("model", keys=lambda encoder: [(1, "mean+std")]).embed_waveform(wave)
    assert middle.clip.shape == (2, 16) and torch.equal(middle.timestamps, plain.timestamps)
    half = open_adapter("model", precision="bf16").embed_waveform(wave)
    assert half.clip.dtype == torch.float32 and not torch.equal(half.clip, plain.clip)
    assert torch.nn.functional.cosine_similarity(half.clip, plain.clip).min() > 0.99
    with pytest.raises(AaspError, match="stem=conv: runs where and as it is; leave out --device, --precision"):
        open_adapter("stem=conv", precision="bf16")


def test_one_process_of_several_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in engine.SIZES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # as accelerate sets it for two processes on the processor
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    with pytest.raises(AaspError, match="started only one process, as it does on CPUs; add --multi_gpu"):
        engine.accelerator("cpu")


@pytest.mark.parametrize(("processes", "refused"), [("1", False), ("2", True)])
def test_one_of_several_gpus_is_for_one_process(processes: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", processes)
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "cpu")
    made: list[dict] = []
    monkeypatch.setattr(engine, "Accelerator", lambda **given: made.append(given))
    if refused:
        with pytest.raises(AaspError, match="--device cuda:1 with several processes, each of which uses its own; give"):
            engine.accelerator("cuda:1")
    else:
        engine.accelerator("cuda:1")
        assert os.environ["ACCELERATE_TORCH_DEVICE"] == "cuda:1" and made == [{"mixed_precision": "no", "cpu": False}]
