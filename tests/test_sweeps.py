"""The generated sounds whose pitch moves do so at the stated speed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import sweeps

AXIS = np.arange(round(sweeps.SECONDS * sweeps.RATE)) / sweeps.RATE


def draws(seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, n]) for n in range(2)]


@pytest.mark.parametrize("speed", sweeps.SWEEPS)
def test_a_sweep_moves_by_octaves_per_second(speed: float) -> None:
    hertz = sweeps.sweep(speed, *draws(1))
    assert hertz.min() >= sweeps.RANGE[0] and hertz.max() <= sweeps.RANGE[1]
    slopes = np.diff(np.log2(hertz)) * sweeps.RATE
    assert np.median(slopes) == pytest.approx(speed, rel=0.11) and (np.abs(slopes) > 2 * abs(speed)).mean() < 1e-3


@pytest.mark.parametrize("rate", sweeps.VIBRATO)
def test_a_vibrato_swings_at_its_rate(rate: float) -> None:
    cents = 1200 * np.log2(sweeps.vibrato(rate, *draws(2)))
    centred = cents - (cents.max() + cents.min()) / 2
    crossings = (np.diff(np.sign(centred)) != 0).sum()
    assert crossings / 2 / sweeps.SECONDS == pytest.approx(rate, rel=0.15, abs=0.4)
    assert 50 <= centred.max() <= 200


def test_a_tone_has_its_fundamental_and_a_voice_is_the_same_for_every_speed() -> None:
    wave = sweeps.tone(np.full(len(AXIS), 400.0), np.random.default_rng(3))
    peak = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() / sweeps.SECONDS
    assert peak == pytest.approx(400, abs=1) and np.abs(wave).max() <= 10 ** (-3 / 20)
    again = sweeps.tone(np.full(len(AXIS), 400.0), np.random.default_rng(3))
    np.testing.assert_array_equal(wave, again)
