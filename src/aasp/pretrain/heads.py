"""Heads: what stands between a token and a loss.

Source: SimCLR's projector; layer norm instead of batch norm, so that a clip's embedding needs no others (ours).
"""

from __future__ import annotations

from torch import nn


def projector(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with layer norm and GELU between them: (..., `width`) to (..., `outputs`)."""
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False), nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, outputs)
    )
