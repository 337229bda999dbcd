"""Generated test signals whose modulation rate is known exactly.

All return float32 of shape (samples,) with samples = round(seconds * sample_rate) and peak at most 1. Frequencies are
in Hz, phases in radians; `rate` is how many times a second the envelope, the frequency or the click repeats: the value
that a stem with aliasing would get wrong. Noise takes a numpy `Generator`, so it is fixed by a seed. Source: ours.
"""

from __future__ import annotations

import numpy as np

Signal = np.ndarray
"""float32, shape (samples,)."""


def am_tone(
    seconds: float, *, carrier: float, rate: float, depth: float = 1.0, phase: float = 0.0, sample_rate: int = 16_000
) -> Signal:
    """A tone of frequency `carrier` with its amplitude modulated `rate` times a second.

    The envelope is (1 + depth cos(2π rate t + phase)) / (1 + depth).

    Raises:
        AssertionError: depth outside [0, 1], or a carrier at or above half the sample rate.
    """
    t = _clock(seconds, sample_rate)
    _below_nyquist(carrier, sample_rate)
    return (_envelope(t, rate, depth, phase) * np.sin(2 * np.pi * carrier * t)).astype(np.float32)


def am_noise(
    seconds: float,
    *,
    rate: float,
    rng: np.random.Generator,
    depth: float = 1.0,
    phase: float = 0.0,
    sample_rate: int = 16_000,
) -> Signal:
    """White noise with its amplitude modulated `rate` times a second; the envelope is that of `am_tone`."""
    t = _clock(seconds, sample_rate)
    return (_envelope(t, rate, depth, phase) * rng.uniform(-1, 1, len(t))).astype(np.float32)


def fm_tone(
    seconds: float, *, carrier: float, rate: float, deviation: float, phase: float = 0.0, sample_rate: int = 16_000
) -> Signal:
    """A tone whose frequency is carrier + deviation cos(2π rate t + phase).

    Raises:
        AssertionError: the frequency leaves (0, sample_rate / 2).
    """
    t = _clock(seconds, sample_rate)
    assert deviation < carrier, f"deviation {deviation} reaches below 0 Hz from carrier {carrier}"
    _below_nyquist(carrier + deviation, sample_rate)
    swing = deviation / rate * (np.sin(2 * np.pi * rate * t + phase) - np.sin(phase))
    return np.sin(2 * np.pi * carrier * t + swing).astype(np.float32)


def fm_noise(
    seconds: float,
    *,
    carrier: float,
    rate: float,
    deviation: float,
    bandwidth: float,
    rng: np.random.Generator,
    phase: float = 0.0,
    sample_rate: int = 16_000,
) -> Signal:
    """A band of noise, `bandwidth` wide, whose centre moves like the frequency of `fm_tone`.

    It is the tone of `fm_tone` multiplied by noise that a moving average limits to ± bandwidth / 2.
    """
    tone = fm_tone(seconds, carrier=carrier, rate=rate, deviation=deviation, phase=phase, sample_rate=sample_rate)
    width = max(1, round(sample_rate / bandwidth))
    noise = np.convolve(rng.uniform(-1, 1, len(tone) + width - 1), np.hanning(width + 2)[1:-1], mode="valid")
    return (tone * noise / max(float(np.abs(noise).max()), 1e-12)).astype(np.float32)


def chirp(
    seconds: float, *, start: float, stop: float, rate: float, phase: float = 0.0, sample_rate: int = 16_000
) -> Signal:
    """Sweeps from `start` to `stop` Hz, linear in octaves, `rate` a second, each starting again at `start`.

    One sweep over the whole signal is `rate = 1 / seconds`. `phase` in [0, 2π) is the position in a sweep at the start.

    Raises:
        AssertionError: a frequency outside (0, sample_rate / 2).
    """
    assert start > 0 and stop > 0, f"a sweep from {start} to {stop} Hz"
    _below_nyquist(max(start, stop), sample_rate)
    place = (rate * _clock(seconds, sample_rate) + phase / (2 * np.pi)) % 1.0
    frequency = start * (stop / start) ** place
    return np.sin(2 * np.pi * np.cumsum(frequency) / sample_rate).astype(np.float32)


def impulse_train(seconds: float, *, rate: float, phase: float = 0.0, sample_rate: int = 16_000) -> Signal:
    """Single samples of 1 in silence, `rate` a second; `phase` in [0, 2π) moves the first one into the signal.

    The i-th impulse is at the sample nearest to (i + phase / 2π) / rate seconds: rounding errors do not accumulate.
    """
    samples = round(seconds * sample_rate)
    offset = phase / (2 * np.pi)
    count = int(np.ceil(seconds * rate - offset))
    places = np.round((np.arange(max(count, 0)) + offset) / rate * sample_rate).astype(int)
    signal = np.zeros(samples, dtype=np.float32)
    signal[places[places < samples]] = 1.0
    return signal


def _clock(seconds: float, sample_rate: int) -> np.ndarray:
    return np.arange(round(seconds * sample_rate)) / sample_rate


def _envelope(t: np.ndarray, rate: float, depth: float, phase: float) -> np.ndarray:
    assert 0 <= depth <= 1, f"modulation depth {depth} outside [0, 1]"
    return (1 + depth * np.cos(2 * np.pi * rate * t + phase)) / (1 + depth)


def _below_nyquist(frequency: float, sample_rate: int) -> None:
    assert 0 < frequency < sample_rate / 2, f"{frequency} Hz can't be represented at {sample_rate} samples a second"
