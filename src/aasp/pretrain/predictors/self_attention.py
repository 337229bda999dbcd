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
        context = self.context(context_BnD)
        places = sincos_positions(grid, self.config.width, context.device)
        queries = places[hidden_Bm] + self.mask_token.to(places.dtype)
        x = torch.cat([context + functional.pad(places[visible_Bn], (0, 0, 1, 0)), queries], dim=1)
        valid = None
        if valid_Bn is not None and hidden_valid_Bm is not None:
            valid = torch.cat([functional.pad(valid_Bn, (1, 0), value=True), hidden_valid_Bm], dim=1)
        for block in self.blocks:
            x, _ = block(x, valid)
        return self.head(self.norm(x[:, context.shape[1] :]))
