"""Voices play the requested rates and keep everything else."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.datasets.modulations import KINDS, RATES, SECONDS, Voice


def loudest_rate(wave: np.ndarray, rate: int = 16_000) -> float:
    """The strongest modulation, 1 to 50 Hz, of the energy in eight bands, where what sweeps comes and goes."""
    spectrum = np.fft.rfft(wave.astype(float))
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    slow = np.fft.rfftfreq(len(wave) // 80, 80 / rate)
    total = np.zeros(len(slow))
    for low in np.geomspace(150, 5000, 8):
        band = np.fft.irfft(np.where((hertz > low) & (hertz < 1.65 * low), spectrum, 0), len(wave))
        energy = (band**2).reshape(-1, 80).mean(1)
        total += np.abs(np.fft.rfft(energy - energy.mean())) ** 2
    # A comb (impulses, a band passed once a cycle) also swings at multiples: the first that is strong is the rate.
    total[slow < 1] = 0
    return float(slow[np.flatnonzero(total > 0.3 * total.max())[0]])


@pytest.mark.parametrize("kind", ["am tone", "am noise", "impulses", "chirp"])
@pytest.mark.parametrize("rate", RATES)
def test_rate(kind, rate):
    voice = Voice.draw(kind, 3, np.random.default_rng(5))
    wave = voice.play(rate, np.random.default_rng(1))
    assert loudest_rate(wave) == pytest.approx(rate, abs=0.4)


@pytest.mark.parametrize("kind", KINDS)
def test_form(kind):
    voice = Voice.draw(kind, 1, np.random.default_rng(1))
    assert voice == Voice.draw(kind, 1, np.random.default_rng(1))
    one, same, other = (voice.play(9.8, np.random.default_rng(seed)) for seed in (2, 2, 3))
    assert one.shape == (round(SECONDS * 16_000),) and one.dtype == np.float32
    assert 0.5 * voice.level < np.abs(one).max() <= voice.level * 1.0001
    assert (one == same).all() and (one != other).any()


def test_rates_reach_over_the_alias_prone_band():
    octaves = np.diff(np.log2(RATES))
    assert octaves == pytest.approx(2 / 3, abs=0.04)
    assert sum(rate > 3.125 for rate in RATES) == 6 and max(RATES) < 50
