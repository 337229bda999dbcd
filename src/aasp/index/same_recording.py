"""Whether two sounds are the same recording: does one waveform, whitened and shifted, correlate with the other?

Encoding, gain, resampling and trimming preserve the waveform up to noise, a factor and a shift; another take of the
same note, word or bird has another one. Each sound's spectrum is flattened first, so that a hum that two recordings
share, or a few harmonics, do not dominate the comparison.

Source: ours; generalised cross-correlation after C. H. Knapp and G. C.
Carter, The generalized correlation method for estimation of time delay, 1976.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter1d

RATE = 16_000
MAX_SECONDS = 30.0
"""Seconds around the middle of a sound that are compared, at most."""
SAME = 0.55
"""Correlation from which two sounds count as the same recording."""
_FRAME = 512
_EDGES = np.unique(np.round(2 ** np.arange(1, 8.01, 0.25)).astype(int))[:-1]  # first bins of the bands
_OVERLAP = 0.5  # minimum overlap, of the shorter sound
_EQUAL = 1e-4  # correlations this close to the largest are as good: the one of the largest overlap counts
_SMOOTHED_HZ = 40.0
_FLOOR = 1e-4  # of the loudest band's power: quieter bands are not fully amplified


def whitened(wave: np.ndarray) -> np.ndarray:
    """A waveform with its spectrum flattened, float32 (samples,); zeros for silence."""
    size = fft.next_fast_len(len(wave), real=True)
    spectrum = fft.rfft(wave.astype(np.float32), size)
    power = uniform_filter1d(np.abs(spectrum) ** 2, max(1, round(_SMOOTHED_HZ * size / RATE)))
    if not power.max() > 0:
        return np.zeros(len(wave), np.float32)
    return fft.irfft(spectrum / np.sqrt(power + _FLOOR * power.max()), size)[: len(wave)].astype(np.float32)


def signature(wave: np.ndarray) -> np.ndarray:
    """Mean and deviation over time of the level in bands of a quarter octave, in dB relative to the loudest.

    They do not depend on gain.

    Args:
        wave: (samples,), at 16 kHz.

    Returns:
        float32 (2 bands,); levels below -60 dB count as -60 dB.
    """
    padded = np.pad(wave, (0, max(0, _FRAME - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[:: _FRAME // 2]
    power = np.square(np.abs(fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)))
    bands = np.add.reduceat(power, _EDGES, axis=1)
    level = 10 * np.log10(np.maximum(bands / max(float(bands.max()), 1e-20), 1e-6))
    return np.concatenate([level.mean(0), level.std(0)]).astype(np.float32)


def correlation(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The largest correlation of two whitened waveforms over all shifts, and the delay of the second.

    Args:
        one, other: results of `whitened`, at 16 kHz.

    Returns:
        The correlation's magnitude, 0 to 1, over the overlap, at least half of the shorter sound; and by how many
        seconds the sound is later in `other` than in `one`.
    """
    n, m = len(one), len(other)
    size = fft.next_fast_len(n + m - 1, real=True)
    product = fft.irfft(np.conj(fft.rfft(one, size)) * fft.rfft(other, size), size)
    lags = np.arange(-(n - 1), m)
    begin = np.maximum(0, -lags)
    overlap = np.minimum(n, m - lags) - begin
    kept = overlap >= _OVERLAP * min(n, m)
    lags, begin, overlap = lags[kept], begin[kept], overlap[kept]
    energy = lambda x: np.concatenate([[0.0], np.cumsum(np.square(x, dtype=np.float64))])
    mine, theirs = energy(one), energy(other)
    power = (mine[begin + overlap] - mine[begin]) * (theirs[begin + overlap + lags] - theirs[begin + lags])
    found = np.abs(product[lags]) / np.sqrt(np.maximum(power, 1e-12))
    found[power < 1e-6 * mine[-1] * theirs[-1]] = 0.0  # almost only silence overlaps
    likely = np.flatnonzero(found >= found.max() - _EQUAL)
    best = int(likely[overlap[likely].argmax()])  # a periodic sound is as similar a period later
    return float(min(1.0, found[best])), float(lags[best]) / RATE
