"""Self-attention of visible tokens and mask tokens together.

Legend: as in `contract`. Source: MAE's decoder, which is also M2D's predictor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from aasp.model.encoder import Block, EncoderConfig
from aasp.model.positions import sincos_positions
from aasp.pretrain.predictors.contract import SizedPredictor

if TYPE_CHECKING:
    from aasp.pretrain.predictors import PredictorConfig


class SelfPredictor(SizedPredictor):
    """Transformer blocks on all tokens with position embeddings; the output is that at the hidden positions."""

    def block(self, config: PredictorConfig) -> Block:
        return Block(EncoderConfig(config.width, heads=config.heads), drop_path=0.0)

    def forward(
        self,
        context_BnD: Tensor,
        visible_Bn: Tensor,
        hidden_Bm: Tensor,
        grid: tuple[int, int],
        valid_Bn: Tensor | None = None,
        hidden_valid_Bm: Tensor | None = None,
    ) -> Tensor:
        context_BnW = self.context(context_BnD)
        positions_NW = sincos_positions(grid, self.config.width, context_BnW.device)
        context_BnW = context_BnW + functional.pad(positions_NW[visible_Bn], (0, 0, 1, 0))
        x = torch.cat([context_BnW, self.queries(positions_NW, hidden_Bm)], dim=1)
        valid = self.with_class(valid_Bn)
        valid = None if valid is None or hidden_valid_Bm is None else torch.cat([valid, hidden_valid_Bm], dim=1)
        for block in self.blocks:
            x, _ = block(x, valid)
        return self.head(self.norm(x[:, context_BnW.shape[1] :]))
