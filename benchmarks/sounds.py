"""Clips for benchmarks: tones in noise, at the level of recordings."""

from __future__ import annotations

import numpy as np


def clips(count: int, seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Waveforms in -1..1, float32 (count, seconds * rate): noise at -26 dB and two modulated tones each."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate), dtype=np.float32) / rate
    waves = 0.05 * random.standard_normal((count, len(time)), dtype=np.float32)
    for wave, hz in zip(waves, random.uniform(100, 3_000, (count, 2)), strict=True):
        wave += 0.1 * (1 + np.sin(2 * np.pi * hz[0] / 300 * time)) * np.sin(2 * np.pi * hz[0] * time)
        wave += 0.1 * np.sin(2 * np.pi * hz[1] * time)
    return waves
