"""Synthetic voices at eight modulation rates: the demo's task of recognising modulation.

A voice corresponds to an instrument: a kind of signal with its own carrier, depth and loudness, drawn once. It plays
every rate of `RATES`, so that only the modulation distinguishes the rates, and it belongs to one split.
Six of the eight rates lie above 3.125 Hz, the Nyquist frequency of patches of 16 frames at a 10 ms hop. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import lfilter

from aasp.audio import signals

RATE = 16_000
SECONDS = 2.5
RATES = (1.5, 2.4, 3.8, 6.1, 9.8, 15.6, 25.0, 40.0)
"""Modulation rates in Hz, two thirds of an octave apart."""
JITTER = 0.05
"""Largest relative deviation of a clip's rate from its class's: the alias of an exact rate could be learned."""
KINDS = ("am tone", "am noise", "fm tone", "fm noise", "chirp", "impulses")


@dataclass(frozen=True)
class Voice:
    """One kind of signal with fixed carrier (Hz), depth in [0, 1] and level (peak)."""

    kind: str
    name: str
    carrier: float
    depth: float
    level: float

    @classmethod
    def draw(cls, kind: str, number: int, rng: np.random.Generator) -> Voice:
        """Draw a voice: carrier 300-3000 Hz, depth 0.6-1, level -20 to -3 dB."""
        carrier = 300 * 10 ** rng.uniform()
        return cls(kind, f"{kind} {number:02d}", carrier, rng.uniform(0.6, 1.0), 10 ** (-rng.uniform(3, 20) / 20))

    def play(self, rate: float, rng: np.random.Generator) -> np.ndarray:
        """Generate a clip of SECONDS, modulated at `rate` Hz from a random phase.

        Returns:
            float32, shape (SECONDS * RATE,), peak at most `level`.
        """
        phase = rng.uniform(0, 2 * np.pi)
        swing: dict[str, Any] = {"rate": rate, "phase": phase, "sample_rate": RATE}
        deviation = 0.35 * self.depth * self.carrier
        match self.kind:
            case "am tone":
                wave = signals.am_tone(SECONDS, carrier=self.carrier, depth=self.depth, **swing)
            case "am noise":
                wave = signals.am_noise(SECONDS, depth=self.depth, rng=rng, **swing)
            case "fm tone":
                wave = signals.fm_tone(SECONDS, carrier=self.carrier, deviation=deviation, **swing)
            case "fm noise":
                bandwidth = 0.2 * self.carrier
                band: dict[str, Any] = {"carrier": self.carrier, "deviation": deviation, "bandwidth": bandwidth}
                wave = signals.fm_noise(SECONDS, rng=rng, **band, **swing)
            case "chirp":
                wave = signals.chirp(SECONDS, start=self.carrier / 2, stop=self.carrier * 2, **swing)
            case "impulses":
                wave = _ring(signals.impulse_train(SECONDS, **swing), self.carrier)
            case _:
                raise AssertionError(f"unknown kind {self.kind!r}")
        return self.level * wave


def _ring(clicks: np.ndarray, frequency: float) -> np.ndarray:
    """Filter clicks with a resonance at `frequency` that decays to 1/e in 4 ms; peak about 1."""
    pole = np.exp(-1 / (0.004 * RATE) + 2j * np.pi * frequency / RATE)
    return lfilter([1.0, -pole.real], [1.0, -2 * pole.real, abs(pole) ** 2], clicks).clip(-1, 1).astype(np.float32)
