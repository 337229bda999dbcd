"""Vectors of sounds: long recordings as if they had been there as a whole, other precisions near fp32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import aasp
from aasp.audio.io import AudioError
from aasp.audio.sounds import Samples
from aasp.evaluate import vectors as module
from aasp.evaluate.features import Running
from aasp.evaluate.vectors import VectorRequest, vectors
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain import recipes
from aasp.stems.conv import ConvConfig

KEYS = [(2, "mean+std"), (1, "cls"), (2, "flat"), (2, "cls"), (0, "flat+std"), (1, "std")]


def encoder(**settings: object) -> AudioEncoder:
    torch.manual_seed(0)
    size = EncoderConfig(width=8, depth=2, heads=2)
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64, **settings)  # type: ignore[arg-type]
    return AudioEncoder(config).eval()


def noise(samples: int) -> np.ndarray:
    random = np.random.default_rng(samples)
    return (0.1 * random.standard_normal(samples) * np.linspace(0.1, 1, samples)).astype(np.float32)


def embedded(model: AudioEncoder, wave: np.ndarray, wanted: VectorRequest) -> tuple:
    def refuse(row: int, error: Exception) -> None:
        raise error

    (found,) = vectors(model, [Samples("it", wave, 16_000)], refuse, wanted, Running())
    return found[0]


def test_a_long_recording_with_centred_windows_equals_a_pass_over_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hop was taken for zero samples, and its sections never ended."""
    model, wave, wanted = encoder(frontend=LogMelConfig.slaney80()), noise(160 * 700), VectorRequest(KEYS, True)
    monkeypatch.setattr(module, "LONG_SECONDS", 0.1)
    monkeypatch.setattr(module, "SECTION", 4)
    clip, over_time = embedded(model, wave, wanted)
    with torch.inference_mode():
        expected = model(torch.from_numpy(wave)[None], layers=True, pooling=KEYS)
    np.testing.assert_allclose(clip, expected.clip[0], atol=2e-6)
    np.testing.assert_allclose(over_time.vectors, expected.timestamps[0], atol=2e-6)


# A step is 2 patches, 32 frames; a section of 4 takes 8 patches and reads 10: the recording ends at every place of one.
@pytest.mark.parametrize("frames", [31, 64, 65, 128, 144, 160, 161, 256, 288, 293, 700])
@pytest.mark.parametrize("layers", [(), (1, 2)])
def test_a_long_recording_equals_a_pass_over_the_whole(
    frames: int, layers: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, wave, wanted = encoder(), noise(240 + 160 * frames), VectorRequest(KEYS, True, layers)
    whole, over_time = embedded(model, wave, wanted)
    monkeypatch.setattr(module, "LONG_SECONDS", 0.1)
    monkeypatch.setattr(module, "SECTION", 4)
    clip, sections = embedded(model, wave, wanted)
    np.testing.assert_allclose(clip, whole, atol=2e-6)
    np.testing.assert_allclose(sections.vectors, over_time.vectors, atol=2e-6)
    np.testing.assert_allclose(sections.seconds, over_time.seconds)


@pytest.mark.parametrize("frames", [65, 128, 150, 159, 161, 256, 293, 700])
@pytest.mark.parametrize("hop", [0.04, 0.08])
def test_a_long_recording_at_a_finer_hop_equals_a_pass_over_the_whole(
    frames: int, hop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, wave, wanted = encoder(), noise(240 + 160 * frames), VectorRequest(KEYS[3:4], True, hop=hop)
    whole, over_time = embedded(model, wave, wanted)
    expected = model.over_time(torch.from_numpy(wave)[None], hop=hop)
    monkeypatch.setattr(module, "LONG_SECONDS", 0.1)
    monkeypatch.setattr(module, "SECTION", 4)
    clip, sections = embedded(model, wave, wanted)
    np.testing.assert_allclose(clip, whole, atol=2e-6)
    for found in (sections, over_time):
        np.testing.assert_allclose(found.vectors, expected.vectors[0].detach(), atol=2e-6)
        np.testing.assert_allclose(found.seconds, expected.seconds.clamp(max=len(wave) / 16_000))


def test_a_long_recording_s_own_vector_is_whitened_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model, wave = encoder(vector=("1:mean", "2:cls"), whitened=3), noise(50_000)
    assert model.whitening is not None
    model.whitening.directions.normal_(std=0.2)
    whole, _ = embedded(model, wave, VectorRequest())
    monkeypatch.setattr(module, "LONG_SECONDS", 0.1)
    monkeypatch.setattr(module, "SECTION", 4)
    clip, over_time = embedded(model, wave, VectorRequest())
    assert clip.shape == whole.shape and over_time is None
    np.testing.assert_allclose(clip, whole, atol=1e-5)


def test_bad_samples_late_in_a_long_recording_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_SECONDS", 0.1)
    monkeypatch.setattr(module, "SECTION", 4)
    wave = noise(50_000)
    wave[40_000] = 1e6
    with pytest.raises(AudioError, match=r"it: samples reach 1e\+06, which is not a waveform in -1 to 1; divide it by"):
        embedded(encoder(), wave, VectorRequest())


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16"])
@pytest.mark.parametrize("recipe", ["aasp_tiny", "eat_tiny"])
def test_other_precisions_are_within_a_hundredth_of_fp32(recipe: str, precision: str) -> None:
    torch.manual_seed(0)
    model = AudioEncoder(recipes.get(recipe).model).eval()
    seconds = np.arange(40_000) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 440 * seconds) * (1 + np.sin(2 * np.pi * 7 * seconds)) / 2
    waves = [noise(40_000), np.zeros(40_000, np.float32), tone.astype(np.float32), 1e-4 * noise(16_000)]
    ask = {"model": model, "rate": 16_000, "layer": [2, 6], "pooling": ["mean", "std"]}
    full = aasp.embed(waves, precision="fp32", **ask)  # type: ignore[arg-type]
    half = aasp.embed(waves, precision=precision, **ask)  # type: ignore[arg-type]
    assert half.dtype == np.float32 and np.isfinite(half).all()
    cosine = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert (1 - cosine).max() < 1e-2
    assert precision == "auto" or not np.array_equal(full, half)


@pytest.mark.parametrize("kind", ["noise", "tone"])
def test_the_packaged_model_s_vector_is_within_a_hundredth_of_fp32_by_default(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor whose fastest precision is bf16, in which a whitening would enlarge the rounding of tones."""
    monkeypatch.setenv("AASP_CPU_PRECISION", "bf16")
    seconds = np.arange(24_000) / 16_000
    tones = [0.3 * np.sin(2 * np.pi * hertz * seconds).astype(np.float32) for hertz in (220, 440, 880)]
    waves = tones if kind == "tone" else [noise(24_000), 0.01 * noise(24_000)]
    full, default, half = (aasp.embed(waves, rate=16_000, precision=one) for one in ("fp32", "auto", "bf16"))
    cosine = lambda some: (full * some).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(some, axis=1)
    assert (1 - cosine(default)).max() < 1e-2
    assert kind == "tone" or (1 - cosine(half)).max() < 1e-2
    assert not np.array_equal(full, half)
