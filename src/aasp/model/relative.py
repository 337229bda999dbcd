"""Attention with gated relative position bias: a bias for the distance of two tokens, times a gate of the query.

Legend: B sequences, H heads, N tokens, E head width, D = H * E, R buckets of distances.
Source: Chen et al. 2022 (WavLM) and Chen et al. 2023 (BEATs): a bias for each bucket of signed distances and each head,
exact up to a quarter of R on either side and logarithmic beyond (Raffel et al. 2020, T5), times a gate of the query.
Distances are in time-major token order. Ours: each block has its own table of biases, where theirs share one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import widened
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.attention import AttentionConfig
from aasp.model.positions import Places

GATES = 8
"""Channels for a query's two gates, four each."""


@dataclass(frozen=True)
class RelativeConfig(AttentionConfig):
    """Attention with gated relative position bias; without a class token, which has no position.

    Attributes:
        kind: the name of this attention in recipes.
        buckets: number R of buckets of signed distances, a multiple of 4.
        furthest: distance from which on all tokens are in the last bucket of their side.
    """

    kind: Literal["relative"] = "relative"
    buckets: int = 320
    furthest: int = 800

    def __post_init__(self) -> None:
        check_range(self, "attention", "buckets furthest")
        if self.buckets % 4 or self.furthest <= self.buckets // 4:
            text = f"buckets {self.buckets} and furthest {self.furthest}"
            raise AaspError(f"attention: {text}; give a multiple of 4, and a distance beyond a quarter of it")

    def build(self, width: int, heads: int) -> RelativeAttention:
        return RelativeAttention(width, heads, self)


class RelativeAttention(nn.Module):
    """Self-attention with gated relative position bias.

    Args:
        width: token width D.
        heads: attention heads H.
        config: the buckets.
    """

    def __init__(self, width: int, heads: int, config: RelativeConfig) -> None:
        super().__init__()
        self.config, self.heads = config, heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(0.02 * torch.randn(config.buckets, heads))
        self.gates = nn.Linear(width // heads, GATES)
        self.gate_scale = nn.Parameter(torch.ones(heads))

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None, places: Places | None = None) -> Tensor:
        q, k, v = (part.transpose(1, 2) for part in self.qkv(x_BND).unflatten(-1, (3, self.heads, -1)).unbind(2))
        bias = self._gate(q)[..., None] * self._bias(x_BND, places)
        if valid_BN is not None:
            bias = bias.masked_fill(~valid_BN[:, None, None], -torch.inf)
        y_BHNE = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.out(y_BHNE.transpose(1, 2).flatten(-2))

    def _gate(self, q_BHNE: Tensor) -> Tensor:
        """The gate of a query for its biases, (B, H, N): a * (b * scale - 1) + 2, from two gates a and b in 0..1."""
        a, b = self.gates(q_BHNE).unflatten(-1, (2, -1)).sum(-1).sigmoid().unbind(-1)
        return a * (b * self.gate_scale[:, None] - 1) + 2

    def _bias(self, x_BND: Tensor, places: Places | None) -> Tensor:
        """The bias of each pair, (B or 1, H, N, N)."""
        index = None if places is None else places.index_Bn
        index = torch.arange(x_BND.shape[1], device=x_BND.device)[None] if index is None else index
        bucket_BNN = buckets(index[:, None, :] - index[:, :, None], self.config.buckets, self.config.furthest)
        return widened(self.bias)[bucket_BNN].movedim(-1, 1)


def buckets(distance: Tensor, count: int, furthest: int) -> Tensor:
    """The buckets, 0 to `count` - 1, of signed distances (key minus query); the second half is for later keys.

    Args:
        distance: int64, any shape.
        count: number of buckets R.
        furthest: distance from which on all are in the last bucket of their half.
    """
    half, exact = count // 2, count // 4
    size = distance.abs()
    rise = torch.log(size.clamp_min(1).float() / exact) / math.log(furthest / exact)
    beyond = (exact + (rise * (half - exact)).long()).clamp_max(half - 1)
    return half * (distance > 0) + torch.where(size < exact, size, beyond)
