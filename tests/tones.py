"""Tones in a little noise, which tests share: sounds that any model separates."""

from __future__ import annotations

import numpy as np

RATE = 16_000


def tone(hertz: float, seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A tone of a phase of its own, float32 (samples,)."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * rate)
    phase, noise = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.01, samples)
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate + phase) + noise).astype(np.float32)
