"""X-ARES: what its checker requires, its own classes where they are installed, and a miniature of its tasks."""

from __future__ import annotations

import importlib
import io
import json
import sys
import tarfile
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from aasp.errors import AaspError
from aasp.integrations.xares import AaspEncoder
from aasp.model.audio_encoder import AudioEncoder
from tones import RATE


def test_attributes_that_the_checker_requires(folder: Path) -> None:
    encoder = AaspEncoder(folder)
    assert isinstance(encoder, nn.Module) and type(encoder).__name__.endswith("Encoder")
    assert (encoder.sampling_rate, encoder.output_dim, encoder.hop_size_in_ms) == (16_000, 8 * 24, 160.0)
    found = encoder(torch.randn(2, 50_000))
    assert found.shape == (2, 20, encoder.output_dim) and found.dtype == torch.float32
    assert not found.requires_grad


def test_its_runner_finds_one_encoder_and_makes_it_without_arguments(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("aasp.integrations.xares")
    assert [name for name in dir(module) if name.endswith("Encoder")] == ["AaspEncoder"]
    monkeypatch.setenv("AASP_MODEL", str(folder))
    assert module.AaspEncoder().output_dim == 8 * 24
    monkeypatch.delenv("AASP_MODEL")
    with pytest.raises(AaspError, match=r"no model is named; give .* or set AASP_MODEL to it"):
        module.AaspEncoder()


def test_vectors_over_time_are_the_models_own(encoder: AudioEncoder) -> None:
    wave = torch.rand(2, 3 * RATE) - 0.5
    with torch.no_grad():
        own = encoder(wave).timestamps
    torch.testing.assert_close(AaspEncoder(encoder)(wave), own, rtol=0, atol=0)
    torch.testing.assert_close(AaspEncoder(encoder)(wave[0]), own[:1])


def test_vectors_stand_for_the_hop_that_is_stated(encoder: AudioEncoder) -> None:
    """Its tasks place labels by `hop_size_in_ms`: ten seconds, and ten minutes, have as many vectors as it implies."""
    ours = AaspEncoder(encoder)
    for seconds in (1.0, 10.0, 60.0):
        vectors = ours(torch.zeros(1, round(seconds * RATE))).shape[1]
        assert abs(vectors - 1000 * seconds / ours.hop_size_in_ms) <= 1


def test_bad_input_is_one_line(encoder: AudioEncoder, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such directory"):
        AaspEncoder(tmp_path / "nowhere")
    with pytest.raises(AaspError, match="shorter than one analysis window"):
        AaspEncoder(encoder)(torch.zeros(2, 100))
    with pytest.raises(AaspError, match="wave is a list of 800, not a tensor"):
        AaspEncoder(encoder)([0.0] * 800)  # type: ignore[arg-type]
    with pytest.raises(AaspError, match="NaN or infinite"):
        AaspEncoder(encoder)(torch.full((1, RATE), torch.nan))


def test_a_miniature_task(encoder: AudioEncoder, two_tones: tuple[list[np.ndarray], list[int]]) -> None:
    """As its clip tasks do: vectors of padded batches, their mean over time, layer norm, a linear layer, Adam."""
    waves, labels = two_tones
    ours = AaspEncoder(encoder)
    padded = torch.zeros(len(waves), max(map(len, waves)))
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    X, y = torch.cat([ours(batch) for batch in padded.split(8)]).mean(1), torch.tensor(labels)
    torch.manual_seed(0)
    head = nn.Sequential(nn.LayerNorm(ours.output_dim), nn.Linear(ours.output_dim, 2))
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(X[:16]), y[:16]).backward()
        optimizer.step()
    assert (head(X[16:]).argmax(1) == y[16:]).all()


def test_its_own_task_runs(
    folder: Path,
    two_tones: tuple[list[np.ndarray], list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The package insists on torchaudio, whose wheels do not load beside a torch for processors alone: it decodes with
    `torchaudio.load` and resamples with `torchaudio.functional.resample`; both are done by soundfile here."""

    def load(file: io.BytesIO) -> tuple[torch.Tensor, int]:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T), rate

    def resample(wave: torch.Tensor, rate: int, wanted: int) -> torch.Tensor:
        assert rate == wanted
        return wave

    torchaudio = types.ModuleType("torchaudio")
    torchaudio.__spec__ = ModuleSpec("torchaudio", None)  # transformers needs it
    torchaudio.load = load  # type: ignore[attr-defined]
    torchaudio.functional = types.SimpleNamespace(resample=resample)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchaudio", torchaudio)
    task = pytest.importorskip("xares.task", reason="needs xares")
    checker = importlib.import_module("xares.audio_encoder_checker")
    encoder = AaspEncoder(folder)
    assert checker.check_audio_encoder(encoder)

    waves, labels = two_tones
    place = tmp_path / "env" / "tones"
    place.mkdir(parents=True)
    for split, rows in (("train", range(12)), ("valid", range(12, 16)), ("test", range(16, 24))):
        with tarfile.open(place / f"{split}-0.tar", "w") as tar:
            for row in rows:
                content = io.BytesIO()
                soundfile.write(content, waves[row], RATE, format="WAV")
                label = json.dumps({"label": labels[row]}).encode()
                for suffix, data in (("wav", content.getvalue()), ("json", label)):
                    entry = tarfile.TarInfo(f"{row}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
    (place / ".audio_tar_ready").touch()
    config = task.TaskConfig(
        name="tones", env_root=tmp_path / "env", encoder=encoder, output_dim=2, label_processor=lambda x: x["label"],
        private=True, num_encoder_workers=0, torch_num_threads=1, eval_weight=8, batch_size_train=2, learning_rate=0.01,
    )  # fmt: skip
    running = task.XaresTask(config)
    running.make_encoded_tar()
    score, clips = running.run_mlp()
    assert clips == 8 and score == 1.0
    neighbours, _ = running.run_knn()
    assert neighbours == 1.0
