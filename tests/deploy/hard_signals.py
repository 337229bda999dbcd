"""Signals that are hard for fp32."""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 16_000


def signals(samples: int) -> dict[str, Tensor]:
    """What is hard for fp32: tones leave most bands at the noise of rounding, silence leaves all at the floor."""
    time = torch.arange(samples, dtype=torch.float64) / RATE
    wave = lambda phase: torch.sin(2 * torch.pi * phase).float()
    random = torch.Generator().manual_seed(samples)
    return {
        "noise": 0.1 * torch.randn(samples, generator=random),
        "silence": torch.zeros(samples),
        "tone": wave(440 * time),
        "high tone": wave(7_990 * time),
        "chirp": wave(50 * time + 1_300 * time**2),
        "quiet noise": 1e-5 * torch.randn(samples, generator=random),
        "offset": 0.3 + 0.01 * torch.randn(samples, generator=random),
    }
