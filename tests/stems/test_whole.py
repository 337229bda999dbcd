"""An incomplete last time patch that is left out (`stem.whole`): the same alone, in a batch, in windows, as it arrives,
over time, exported, and in training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aasp.config import fingerprint, from_dict, to_dict
from aasp.deploy.onnx import difference, onnx_model, session
from aasp.errors import AaspError
from aasp.evaluate.finetune.targets import Targets
from aasp.features.logmel import LogMelConfig
from aasp.model.attention_maps import attention_maps
from aasp.model.audio_classifier import AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.encoding import as_clips
from aasp.stems.conv import ConvConfig

PATCH, WINDOW = 8, 8
"""Frames of a patch, time patches of a window."""


@pytest.fixture(params=[(1, None), (WINDOW, None), (1, 24)], ids=["always", "of a window", "overlapping"])
def model(request: pytest.FixtureRequest) -> AudioEncoder:
    torch.manual_seed(0)
    whole, taps = request.param
    front, stem = LogMelConfig(mels=32, centered=True), ConvConfig(patch=(PATCH, 16), taps=taps, whole=whole)
    size = EncoderConfig(width=16, depth=1, heads=2)
    return AudioEncoder(AudioEncoderConfig(front, stem, size, WINDOW * PATCH / 100, "mean+std")).eval()


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))


def expected(model: AudioEncoder, frames: int) -> int:
    columns, rest = divmod(frames, PATCH)
    return columns + (rest > 0 and columns < model.config.stem.whole)


LENGTHS = (400, 1_500, 10_300, 10_241, 10_240, 12_000, 20_500, 33_333)
"""From less than a patch to several windows, with and without a remainder."""


@torch.no_grad()
@pytest.mark.parametrize("samples", LENGTHS)
def test_a_remainder_is_never_seen(samples: int, model: AudioEncoder) -> None:
    wave = noise(samples)
    mel, frames = model.mel(wave)
    columns = expected(model, int(frames))
    found = model(wave)
    assert found.valid.shape == (1, columns) and found.valid.all()
    assert model.stem.grid(int(frames))[0] == columns == model.config.stem.time_patches(int(frames))
    assert model.stem.time_patches(frames).tolist() == [columns]
    torch.testing.assert_close(model.embed(mel[:, : columns * PATCH]).clip, found.clip, rtol=0, atol=1e-6)

    # Beside a longer clip.
    longer = torch.cat([torch.nn.functional.pad(wave, (0, 9_000)), noise(samples + 9_000)])
    both = model(longer, torch.tensor([samples, samples + 9_000]))
    assert both.valid[0].sum() == columns
    torch.testing.assert_close(both.clip[:1], found.clip, rtol=0, atol=1e-5)
    torch.testing.assert_close(both.timestamps[:1, :columns], found.timestamps, rtol=0, atol=1e-5)

    # As it arrives, and in finer steps.
    stream = model.stream()
    parts = [stream(part) for part in wave.split(3_001, dim=1)] + [stream.end()]
    arrived = torch.cat([part.vectors for part in parts if part.vectors.shape[1]], dim=1)
    torch.testing.assert_close(arrived, found.timestamps, rtol=0, atol=1e-5)
    for hop in (0.04, 0.02):
        finer, alike = model.over_time(wave, hop=hop), round(0.08 / hop)
        assert finer.valid.all() and finer.vectors.shape[1] == len(finer.seconds)
        torch.testing.assert_close(finer.vectors[:, ::alike], found.timestamps, rtol=0, atol=1e-5)
        padded = model.over_time(longer, torch.tensor([samples, samples + 9_000]), hop=hop)
        assert padded.valid[0].sum() == finer.valid.sum()
        torch.testing.assert_close(padded.vectors[:1][padded.valid[:1]], finer.vectors[0], rtol=0, atol=1e-5)
    assert attention_maps(model, mel[0]).shape[2:] == (columns, 2)


@pytest.mark.slow
@torch.no_grad()
def test_graphs_for_any_length_leave_it_out(model: AudioEncoder) -> None:
    running = session(onnx_model(model), threads=1)
    assert difference(model, "whole", running) < 1e-4
    for samples in LENGTHS:
        wave = torch.cat([noise(samples), noise(samples + 1)[:, :samples]])
        lengths = torch.tensor([samples, max(400, samples - 5_000)])
        given = {"wave": wave.numpy(), "lengths": lengths.numpy()}
        clip, timestamps, valid = map(torch.from_numpy, running.run(["clip", "timestamps", "valid"], given))
        found = model(wave, lengths)
        torch.testing.assert_close(valid, found.valid)
        torch.testing.assert_close(clip, found.clip, rtol=0, atol=1e-5)
        torch.testing.assert_close(timestamps, found.timestamps, rtol=0, atol=1e-5)


def test_training_leaves_it_out(model: AudioEncoder) -> None:
    mel, frames = torch.randn(2, 77, 32), torch.tensor([77, 70])
    clips = as_clips(model, mel, frames)
    columns = [expected(model, count) for count in (77, 70)]
    assert clips.columns.tolist() == columns and clips.grid == (columns[0], 2)
    assert clips.mel.shape[1] == min(77, PATCH * columns[0]) and clips.frames.max() <= clips.mel.shape[1]
    assert model.stem(clips.mel).shape[1] == 2 * columns[0]
    config = AudioClassifierConfig(("a",), clip_seconds=0.77, encoder=model.config)
    frames_of_crop = model.config.frontend.frames(12_320)
    assert len(Targets(config, [()])(0, 0.0)) == model.stem.grid(frames_of_crop)[0]


def test_earlier_configurations_keep_their_fingerprint() -> None:
    assert "whole" not in to_dict(ConvConfig()) and to_dict(ConvConfig(whole=1))["whole"] == 1
    assert from_dict(ConvConfig, to_dict(ConvConfig(whole=1)), "here") == ConvConfig(whole=1)
    assert fingerprint(ConvConfig()) != fingerprint(replace(ConvConfig(), whole=1))
    with pytest.raises(AaspError, match="stem: whole is 0; give a number of at least 1"):
        ConvConfig(whole=0)
