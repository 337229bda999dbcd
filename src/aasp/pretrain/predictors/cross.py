"""Cross-attention and MLP without self-attention: every query is independent of the others.

Legend: as in `contract`. Source: CrossMAE. The loss on a random part of the queries is an unbiased estimate of that on
all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from aasp.model.attention import CrossAttention
from aasp.model.encoder import Mlp
from aasp.model.positions import sincos_positions
from aasp.pretrain.predictors.contract import SizedPredictor

if TYPE_CHECKING:
    from aasp.pretrain.predictors import PredictorConfig


class CrossBlock(nn.Module):
    """Cross-attention to the context, then an MLP, each with a residual connection."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width, eps=1e-6), nn.LayerNorm(config.width, eps=1e-6)
        self.attention = CrossAttention(config.width, config.heads)
        self.mlp = Mlp(config.width, 4 * config.width)

    def forward(self, queries: Tensor, context: Tensor, valid: Tensor | None) -> Tensor:
        queries = queries + self.attention(self.norm1(queries), context, valid)
        return queries + self.mlp(self.norm2(queries))


class CrossPredictor(SizedPredictor):
    """Queries, a mask token at each hidden position, attend to the visible tokens."""

    def block(self, config: PredictorConfig) -> CrossBlock:
        return CrossBlock(config)

    def forward(
        self,
        context_BnD: Tensor,
        visible_Bn: Tensor,
        hidden_Bm: Tensor,
        grid: tuple[int, int],
        valid_Bn: Tensor | None = None,
        hidden_valid_Bm: Tensor | None = None,
    ) -> Tensor:
        positions_NW = sincos_positions(grid, self.config.width, context_BnD.device)
        context_BnW = self.with_positions(self.context(context_BnD), positions_NW, visible_Bn)
        queries_BmW, valid = self.queries(positions_NW, hidden_Bm), self.with_class(valid_Bn)
        for block in self.blocks:
            queries_BmW = block(queries_BmW, context_BnW, valid)
        return self.head(self.norm(queries_BmW))

    def with_positions(self, context_BnW: Tensor, positions_NW: Tensor, visible_Bn: Tensor) -> Tensor:
        """Class token and visible tokens, (B, 1 + n, W), the latter with positions if the configuration says so."""
        if not self.config.context_positions:
            return context_BnW
        return context_BnW + functional.pad(positions_NW[visible_Bn], (0, 0, 1, 0)).to(context_BnW.dtype)
