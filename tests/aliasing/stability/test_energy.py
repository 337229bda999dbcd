"""Modulations have their stated energy by Kaldi's own log-mel; energy with silence; closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aasp.aliasing.stability.excerpts import (
    DECIBEL,
    Excerpts,
    audible,
    energy,
    gather,
    log_power,
    modulated,
    to_decibel,
)
from aasp.aliasing.stability.perturbations import AmplitudeModulation, SlowModulation
from aasp.datasets.manifest import Manifest
from kaldi import kaldi

FLOOR = math.log(2.0**-23)


def naive_energy(clean: np.ndarray, moved: np.ndarray) -> float:
    """E as the docstring defines it, bin by bin, on Kaldi's log-mels."""
    total, count = 0.0, 0
    for before, after in zip(kaldi(clean).ravel(), kaldi(moved).ravel(), strict=True):
        total += (max(after, FLOOR) - max(before, FLOOR)) ** 2
        count += before > FLOOR + 1e-4
    return total / count


@pytest.mark.parametrize("decibel", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("hertz", [1.0, 9.0, 45.0])
def test_amplitude_modulation_has_its_stated_energy(sounds: Excerpts, hertz: float, decibel: float) -> None:
    moved = AmplitudeModulation(hertz, decibel).apply(sounds, np.random.default_rng(0))
    wanted = (decibel * math.log(10) / 10) ** 2
    for before, after in zip(sounds.clean.numpy(), moved.numpy(), strict=True):
        assert naive_energy(before, after) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("decibel", [1.5, 24.0])
def test_the_control_has_its_stated_energy(sounds: Excerpts, decibel: float) -> None:
    moved = SlowModulation(0.4, 2.8, decibel).apply(sounds, np.random.default_rng(0))
    wanted = (decibel * math.log(10) / 10) ** 2
    for before, after in zip(sounds.clean.numpy(), moved.numpy(), strict=True):
        assert naive_energy(before, after) == pytest.approx(wanted, rel=0.01)


def test_modulations_of_real_sounds_have_their_stated_energy(data_root: Path) -> None:
    manifest, _ = Manifest.open(data_root / "esc10/index.csv")
    clips = gather(manifest, clips=12, seconds=2.5).excerpts
    for perturbation in (AmplitudeModulation(1.0, 3.0), AmplitudeModulation(45.0, 6.0), SlowModulation(0.4, 2.8, 24.0)):
        moved = perturbation.apply(clips, np.random.default_rng(0))
        found = to_decibel(energy(log_power(clips.clean), log_power(moved))).numpy()
        np.testing.assert_allclose((found / perturbation.decibel) ** 2, 1, atol=0.01)


def depth(clean: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """A of each clip: peak to peak of the log gain, which is A/2 · (1 - -1)."""
    gain = (moved / clean).abs().log()
    return gain.max(1).values - gain.min(1).values


def test_a_slow_modulation_needs_the_depth_of_the_closed_form(noise: Callable[..., Excerpts]) -> None:
    clips = noise(3)
    moved = AmplitudeModulation(2.0, 2.0).apply(clips, np.random.default_rng(0))
    expected = torch.full((3,), math.sqrt(2) * 2.0 / DECIBEL)
    torch.testing.assert_close(depth(clips.clean, moved), expected, rtol=0.01, atol=0)


def test_a_fast_modulation_is_smeared_by_the_analysis_window(noise: Callable[..., Excerpts]) -> None:
    """Power is seen through the squared Hann window of 25 ms: its Fourier transform at 40 Hz over that at 0 Hz."""
    t, window = np.arange(400) / 16_000, np.hanning(400) ** 2
    smeared = abs((window * np.exp(2j * np.pi * 40 * t)).sum()) / window.sum()
    assert -20 * math.log10(smeared) == pytest.approx(3.5, abs=0.1)
    clips = noise(4, frames=402)
    moved = AmplitudeModulation(40.0, 1.0).apply(clips, np.random.default_rng(0))
    change = (log_power(moved) - log_power(clips.clean)).mean(2)[:, :400]
    amplitude = 2 / 400 * torch.fft.rfft(change).abs()[:, 160]
    # Unsmeared, it would be 1.5 times as deep; in the lowest bins the noise itself fluctuates, which takes a little.
    torch.testing.assert_close(amplitude, smeared * depth(clips.clean, moved), rtol=0.1, atol=0)


@pytest.mark.parametrize("hertz", [3.0, 15.0])
def test_the_energy_is_where_the_rate_is(noise: Callable[..., Excerpts], hertz: float) -> None:
    clips = noise(2, frames=402)
    moved = log_power(AmplitudeModulation(hertz, 3.0).apply(clips, np.random.default_rng(0)))
    change = (moved - log_power(clips.clean)).mean(2)[:, :400]
    power = torch.fft.rfft(change).abs() ** 2
    share = power[:, round(hertz * 4)] / power.sum(1)  # 400 frames of 10 ms: bins are a quarter of a Hz apart
    assert (share > 0.97).all()


def test_the_mean_level_stays(sounds: Excerpts) -> None:
    moved = log_power(AmplitudeModulation(45.0, 6.0).apply(sounds, np.random.default_rng(0)))
    clean = log_power(sounds.clean)
    change = ((moved - clean) * audible(clean)).sum((1, 2)) / audible(clean).sum((1, 2))
    assert (change.abs() * DECIBEL < 0.6).all()  # without the constant gain: more than 4 dB
    assert float(change[0]) * DECIBEL == pytest.approx(0, abs=0.45)


def test_silence_does_not_dilute_a_change(noise: Callable[..., Excerpts]) -> None:
    clean = noise(1).clean
    half = clean.clone()
    half[:, clean.shape[1] // 2 :] = 0
    for wave in (clean, half):
        louder = energy(log_power(wave), log_power(wave * 2))
        assert float(to_decibel(louder)) == pytest.approx(20 * math.log10(2), rel=0.02)


def test_sound_in_silent_frames_counts(noise: Callable[..., Excerpts]) -> None:
    clean = noise(1).clean.clone()
    clean[:, : clean.shape[1] // 2] = 0
    before, after = log_power(clean), log_power(clean.flip(1))
    naive = ((after - before) ** 2).sum() / (before > FLOOR + 1e-4).sum()
    assert float(energy(before, after)) == pytest.approx(float(naive))
    assert float(to_decibel(energy(before, after))) > 20


def test_no_change_has_no_energy(sounds: Excerpts) -> None:
    clean = log_power(sounds.clean)
    assert (energy(clean, clean) == 0).all()


def test_silence_modulated_stays_finite() -> None:
    quiet = 1e-7 * torch.ones(1, 8_000)
    swing = torch.arange(8_000)[None] / 8_000
    assert modulated(quiet, swing, 3.0).isfinite().all()
    assert (modulated(0 * quiet, swing, 3.0) == 0).all()
