"""Fixed 2-D sine-cosine positions, for a grid of any length.

Legend: G time patches x F subbands, N = G * F in time-major order, D width.
Source: MAE and EAT; half of the channels encode time, the other half the subband.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_positions(grid: tuple[int, int], width: int, device: torch.device | None = None) -> Tensor:
    """Positions of shape (N, D), fp32.

    Args:
        grid: (G, F).
        width: D, a multiple of 4.
        device: where to make them.
    """
    times = torch.arange(grid[0], dtype=torch.float32, device=device)
    subbands = torch.arange(grid[1], dtype=torch.float32, device=device)
    axes = _axis(times, width // 2)[:, None], _axis(subbands, width // 2)[None]
    return torch.cat([axis.expand(*grid, -1) for axis in axes], dim=-1).flatten(0, 1)


def _axis(position: Tensor, width: int) -> Tensor:
    frequency = 10_000.0 ** (-torch.arange(width // 2, dtype=torch.float32, device=position.device) * 2 / width)
    angle = position[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
