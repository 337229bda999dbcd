"""Differential attention: the difference of two attention maps per head, which cancels their common part.

Legend: B sequences, H heads, N tokens, E head width, D = H * E.
Source: Ye et al. 2024 (Differential Transformer): softmax(q1 k1) - λ softmax(q2 k2), each on half of a head's width,
applied to values of the whole width; RMS norm of each head's output, times 1 - λ0; λ = exp(λq1 · λk1) - exp(λq2 · λk2)
+ λ0. Ours: λ0 is the same in every block. ASDA's code (Wang et al. 2025) has another form: λ is a constant, both maps
have the whole width of a head, with twice as many queries and keys, and a layer norm of all heads together, times 0.95,
replaces the RMS norm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from aasp.casting import LayerNorm, widened
from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError
from aasp.model.attention import AttentionConfig, attend
from aasp.model.positions import Places


@dataclass(frozen=True)
class DifferentialConfig(AttentionConfig):
    """Differential attention; half as many heads of twice the width cost as much as full attention.

    Attributes:
        kind: the name of this attention in recipes.
        start: λ0, the initial value of λ; unused if `fixed` is given.
        fixed: constant λ of ASDA's form (there 0.1); Ye et al.'s form, with a learned λ, if omitted.
    """

    kind: Literal["differential"] = "differential"
    start: float = 0.8
    fixed: float | None = field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "attention", "start", least=0, below=1)
        if self.fixed is not None:
            check_range(self, "attention", "fixed", least=0, below=1)

    def build(self, width: int, heads: int) -> DifferentialAttention:
        return DifferentialAttention(width, heads, self.start, self.fixed)


class DifferentialAttention(nn.Module):
    """Self-attention as the difference of two maps, independent of positions.

    Args:
        width: token width D.
        heads: attention heads H.
        start: λ0.
        fixed: constant λ of ASDA's form; Ye et al.'s form if omitted.

    Raises:
        AaspError: a head's width is odd and must be halved.
    """

    def __init__(self, width: int, heads: int, start: float, fixed: float | None = None) -> None:
        super().__init__()
        self.heads, self.start, self.fixed = heads, start, fixed
        self.qkv = nn.Linear(width, (3 if fixed is None else 5) * width)
        self.out = nn.Linear(width, width)
        if fixed is not None:
            self.norm = LayerNorm(width)
            return
        if width // heads % 2:
            raise AaspError(f"encoder: heads of width {width // heads} can't be halved; change width or heads")
        self.difference = nn.Parameter(0.1 * torch.randn(4, width // heads // 2))  # λq1, λk1, λq2, λk2
        self.scale = nn.Parameter(torch.ones(width // heads))

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None, places: Places | None = None) -> Tensor:
        q, k, v = self.two_maps(x_BND)
        return self.difference_of(attend(q, k, v, valid_BN), x_BND.dtype)

    def two_maps(self, x_BND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys of the first, then the second maps, (B, 2 H, N, E / 2); values twice, (B, 2 H, N, E).

        In ASDA's form, queries and keys have width E too.
        """
        parts = 3 if self.fixed is None else 5
        *qk, v = (part.transpose(1, 2) for part in self.qkv(x_BND).unflatten(-1, (parts, self.heads, -1)).unbind(2))
        q1, q2, k1, k2 = qk if self.fixed is not None else (half for x in qk for half in x.chunk(2, dim=-1))
        return torch.cat([q1, q2], dim=1), torch.cat([k1, k2], dim=1), torch.cat([v, v], dim=1)

    @property
    def weight(self) -> Tensor:
        """λ, 0-d."""
        if self.fixed is not None:
            return torch.full((), self.fixed, device=self.out.weight.device)
        q1, k1, q2, k2 = widened(self.difference).unbind()
        return torch.exp((q1 * k1).sum()) - torch.exp((q2 * k2).sum()) + self.start

    def difference_of(self, both_BHNE: Tensor, dtype: torch.dtype) -> Tensor:
        """The output, (B, N, D), from the outputs of both maps, (B, 2 H, N, E)."""
        first, second = both_BHNE.chunk(2, dim=1)
        y_BHNE = widened(first) - self.weight * widened(second)
        if self.fixed is not None:
            return self.out(0.95 * self.norm(y_BHNE.transpose(1, 2).flatten(-2)))
        y_BHNE = y_BHNE * torch.rsqrt(y_BHNE.square().mean(-1, keepdim=True) + 1e-5)
        y_BHNE = (1 - self.start) * widened(self.scale) * y_BHNE
        return self.out(y_BHNE.to(dtype).transpose(1, 2).flatten(-2))
