"""Differential attention: the difference of two attention maps per head, which cancels their common part.

Legend: B sequences, H heads, N tokens, E head width, D = H * E.
Source: Ye et al. 2024 (Differential Transformer): softmax(q1 k1) - λ softmax(q2 k2), each on half of a head's width,
applied to values of the whole width; RMS norm of each head's output, times 1 - λ0; λ = exp(λq1 · λk1) - exp(λq2 · λk2)
+ λ0. ASDA (Wang et al. 2025) uses it in an audio spectrogram transformer. Ours: λ0 is the same in every block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aasp.casting import widened
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.attention import AttentionConfig, attend
from aasp.model.positions import Places


@dataclass(frozen=True)
class DifferentialConfig(AttentionConfig):
    """Differential attention; half as many heads of twice the width cost as much as full attention.

    Attributes:
        kind: the name of this attention in recipes.
        start: λ0, the initial value of λ.
    """

    kind: Literal["differential"] = "differential"
    start: float = 0.8

    def __post_init__(self) -> None:
        check_range(self, "attention", "start", least=0, below=1)

    def build(self, width: int, heads: int) -> DifferentialAttention:
        return DifferentialAttention(width, heads, self.start)


class DifferentialAttention(nn.Module):
    """Self-attention as the difference of two maps, independent of positions.

    Args:
        width: token width D.
        heads: attention heads H.
        start: λ0.

    Raises:
        AaspError: a head's width is odd.
    """

    def __init__(self, width: int, heads: int, start: float) -> None:
        super().__init__()
        if width // heads % 2:
            raise AaspError(f"encoder: heads of width {width // heads} can't be halved; change width or heads")
        self.heads, self.start = heads, start
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.difference = nn.Parameter(0.1 * torch.randn(4, width // heads // 2))  # λq1, λk1, λq2, λk2
        self.scale = nn.Parameter(torch.ones(width // heads))

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None, places: Places | None = None) -> Tensor:
        q, k, v = self.two_maps(x_BND)
        return self.difference_of(attend(q, k, v, valid_BN), x_BND.dtype)

    def two_maps(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys of the first, then the second maps, (B, 2 H, N, E / 2); values twice, (B, 2 H, N, E)."""
        q, k, v = (part.transpose(1, 2) for part in self.qkv(x_BND).unflatten(-1, (3, self.heads, -1)).unbind(2))
        halves = lambda x: torch.cat(x.chunk(2, dim=-1), dim=1)
        return halves(q), halves(k), torch.cat([v, v], dim=1)

    @property
    def weight(self) -> Tensor:
        """λ, 0-d."""
        q1, k1, q2, k2 = widened(self.difference).unbind()
        return torch.exp((q1 * k1).sum()) - torch.exp((q2 * k2).sum()) + self.start

    def difference_of(self, both_BHNE: Tensor, dtype: torch.dtype) -> Tensor:
        """The output, (B, N, D), from the outputs of both maps, (B, 2 H, N, E)."""
        first, second = both_BHNE.chunk(2, dim=1)
        y_BHNE = widened(first) - self.weight * widened(second)
        y_BHNE = y_BHNE * torch.rsqrt(y_BHNE.square().mean(-1, keepdim=True) + 1e-5)
        y_BHNE = (1 - self.start) * widened(self.scale) * y_BHNE
        return self.out(y_BHNE.to(dtype).transpose(1, 2).flatten(-2))
