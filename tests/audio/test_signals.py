"""The generated signals have the modulation rate, carrier and level that were requested."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import hilbert

from aasp.audio import signals

SECONDS, RATE = 4.0, 16_000
RATES = [1.5, 6.25, 15.25, 40.0]  # multiples of 1/4 Hz: exact bins of a four-second envelope


def strongest(envelope: np.ndarray) -> float:
    """The frequency in Hz at which an envelope of SECONDS swings most, 0.5 to 100 Hz."""
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    hertz = np.fft.rfftfreq(len(envelope), SECONDS / len(envelope))
    spectrum[(hertz < 0.5) | (hertz > 100)] = 0
    return float(hertz[spectrum.argmax()])


def loudness(wave: np.ndarray) -> np.ndarray:
    return np.abs(hilbert(wave))


def pitch(wave: np.ndarray) -> np.ndarray:
    """Instantaneous frequency in Hz."""
    return np.diff(np.unwrap(np.angle(hilbert(wave)))) * RATE / (2 * np.pi)


@pytest.mark.parametrize("rate", RATES)
def test_am_tone_swings_at_its_rate_and_depth(rate):
    wave = signals.am_tone(SECONDS, carrier=1000, rate=rate, depth=0.5, phase=0.7)
    envelope = loudness(wave)
    assert strongest(envelope) == rate
    inner = envelope[800:-800]
    assert inner.max() == pytest.approx(1.0, abs=0.01)
    assert inner.min() == pytest.approx(0.5 / 1.5, abs=0.01)
    spectrum = np.abs(np.fft.rfft(wave))
    assert spectrum.argmax() / SECONDS == 1000


@pytest.mark.parametrize("rate", RATES)
def test_am_noise_swings_at_its_rate(rate):
    wave = signals.am_noise(SECONDS, rate=rate, rng=np.random.default_rng(0))
    assert strongest(wave**2) == rate


@pytest.mark.parametrize("rate", RATES)
def test_fm_tone_moves_its_frequency(rate):
    wave = signals.fm_tone(SECONDS, carrier=2000, rate=rate, deviation=300, phase=1.0)
    frequency = pitch(wave)
    assert strongest(frequency) == pytest.approx(rate, abs=0.01)  # one sample shorter than SECONDS
    inner = frequency[800:-800]
    assert (inner.max(), inner.min()) == (pytest.approx(2300, rel=0.01), pytest.approx(1700, rel=0.01))
    first = frequency[400 : 400 + 16].mean()
    assert first == pytest.approx(2000 + 300 * np.cos(2 * np.pi * rate * 408 / RATE + 1.0), abs=15)


@pytest.mark.parametrize("rate", RATES)
def test_fm_noise_moves_its_band(rate):
    wave = signals.fm_noise(
        SECONDS, carrier=2000, rate=rate, deviation=600, bandwidth=200, rng=np.random.default_rng(1)
    )
    # Louder than its mean above 2 kHz, then below: the slope of a differentiator turns the move into amplitude.
    assert strongest(np.diff(wave) ** 2 - 0.5 * wave[1:] ** 2) == pytest.approx(rate, abs=0.26)


@pytest.mark.parametrize("rate", RATES)
def test_chirp_restarts_at_its_rate(rate):
    wave = signals.chirp(SECONDS, start=500, stop=4000, rate=rate)
    assert strongest(np.clip(pitch(wave), 0, 8000)) == pytest.approx(rate, abs=0.01)


def test_chirp_is_even_in_octaves():
    frequency = pitch(signals.chirp(2.0, start=200, stop=3200, rate=0.5))
    for share in (0.25, 0.5, 0.75):
        assert frequency[int(share * 2 * RATE)] == pytest.approx(200 * 16**share, rel=0.02)


@pytest.mark.parametrize("rate", RATES)
def test_impulses_do_not_drift(rate):
    wave = signals.impulse_train(60.0, rate=rate, phase=np.pi)
    places = np.flatnonzero(wave)
    assert len(places) == round(60 * rate)
    assert np.abs(places / RATE - (np.arange(len(places)) + 0.5) / rate).max() <= 0.5 / RATE + 1e-9


def test_form():
    rng = np.random.default_rng(2)
    made = [
        signals.am_tone(0.3, carrier=440, rate=4),
        signals.am_noise(0.3, rate=4, rng=rng),
        signals.fm_tone(0.3, carrier=440, rate=4, deviation=40),
        signals.fm_noise(0.3, carrier=440, rate=4, deviation=40, bandwidth=100, rng=rng),
        signals.chirp(0.3, start=100, stop=1000, rate=4),
        signals.impulse_train(0.3, rate=4),
    ]
    for wave in made:
        assert wave.shape == (4800,) and wave.dtype == np.float32
        assert 0.2 < np.abs(wave).max() <= 1


def test_same_seed_same_noise():
    one, two, other = (signals.am_noise(0.1, rate=5, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one == two).all() and (one != other).any()


def test_signals_that_would_alias_are_refused():
    with pytest.raises(AssertionError, match="8000"):
        signals.am_tone(0.1, carrier=8000, rate=4)
    with pytest.raises(AssertionError, match="deviation"):
        signals.fm_tone(0.1, carrier=100, rate=4, deviation=200)
