"""The cross-attention predictor: hidden patches ask what the visible ones know.

Legend: B views, n visible tokens and the class token, m hidden patches, D encoder width, W predictor width.
Source: CrossMAE's idea (cross-attention and MLP, no self-attention), so every query is answered alone and a random
part of them is an unbiased estimate of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.model.attention import CrossAttention
from aasp.model.encoder import Mlp


@dataclass(frozen=True)
class PredictorConfig:
    """Size of the predictor.

    Attributes:
        depth: blocks.
        width: width W, a multiple of heads and of 4.
        heads: attention heads.
    """

    depth: int = 4
    width: int = 192
    heads: int = 6


class PredictorBlock(nn.Module):
    """Cross-attention on the context, then an MLP, each with a residual sum."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width, eps=1e-6), nn.LayerNorm(config.width, eps=1e-6)
        self.attention = CrossAttention(config.width, config.heads)
        self.mlp = Mlp(config.width, 4 * config.width)

    def forward(self, queries: Tensor, context: Tensor, valid: Tensor | None) -> Tensor:
        queries = queries + self.attention(self.norm1(queries), context, valid)
        return queries + self.mlp(self.norm2(queries))


class Predictor(nn.Module):
    """Predict the teacher's targets at hidden patches.

    Args:
        config: its size.
        width: encoder width D.
    """

    def __init__(self, config: PredictorConfig, width: int) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(0.02 * torch.randn(config.width))
        self.context = nn.Linear(width, config.width)
        self.blocks = nn.ModuleList(PredictorBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, width)

    def forward(self, positions_BmW: Tensor, context_BnD: Tensor, valid_Bn: Tensor | None = None) -> Tensor:
        """Predictions of shape (B, m, D).

        Args:
            positions_BmW: positions of the hidden patches.
            context_BnD: the student's output, class token included.
            valid_Bn: which visible tokens count, boolean; all when left out. The class token always does.
        """
        if valid_Bn is not None:
            valid_Bn = functional.pad(valid_Bn, (1, 0), value=True)
        queries = positions_BmW + self.mask_token.to(positions_BmW.dtype)
        context = self.context(context_BnD)
        for block in self.blocks:
            queries = block(queries, context, valid_Bn)
        return self.head(self.norm(queries))
