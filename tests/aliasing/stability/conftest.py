"""Clips that the tests of stability share, and their log-mel as Kaldi's own code computes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from aasp.aliasing.stability.excerpts import HOP, Excerpts

SPARE, FRAMES = 16, 250


@pytest.fixture
def noise() -> Callable[..., Excerpts]:
    """`noise(n)`: n clips of 2.5 s of white noise, different ones."""

    def made(n: int, frames: int = FRAMES) -> Excerpts:
        rng = np.random.default_rng(0)
        source = 0.05 * rng.standard_normal((n, (frames + 2 * SPARE) * HOP))
        return Excerpts(torch.from_numpy(source.astype(np.float32)))

    return made


@pytest.fixture
def sounds() -> Excerpts:
    """Four clips: noise, a harmonic sound with vibrato, clicks in near silence, a burst in digital silence."""
    samples = (FRAMES + 2 * SPARE) * HOP
    rng, t = np.random.default_rng(1), np.arange(samples) / 16_000
    harmonic = sum(np.sin(2 * np.pi * k * (300 * t + 2 * np.sin(2 * np.pi * 5 * t))) / k for k in range(1, 20))
    clicks = 1e-4 * rng.standard_normal(samples)
    clicks[::3_000] += 0.9
    burst = np.where((t > 1) & (t < 1.8), 0.2 * rng.standard_normal(samples), 0)
    source = np.stack([0.1 * rng.standard_normal(samples), 0.1 * harmonic, clicks, burst])
    return Excerpts(torch.from_numpy(source.astype(np.float32)))
