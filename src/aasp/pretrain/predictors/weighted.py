"""Cross-attention of each block to its own mixture of the encoder's layers.

Legend: as in `contract`; L layers of the encoder, its input first.
Source: CrossMAE (Fu et al. 2024), weighted inter-block features: weights without bias, initialised with deviation 1 /
sqrt(L), no softmax, and a layer norm for each block of the predictor. The map from the encoder's width to the
predictor's is shared by all blocks (there each block's keys and values have their own), and the last layer is the
normalised one: both ours, the latter so that the exported encoder's norm is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aasp.casting import LayerNorm
from aasp.model.positions import sincos_positions
from aasp.pretrain.predictors.cross import CrossPredictor

if TYPE_CHECKING:
    from aasp.pretrain.predictors import PredictorConfig


class WeightedCrossPredictor(CrossPredictor):
    """Queries attend to the visible tokens of all layers of the encoder.

    Args:
        config: its size.
        width: encoder width D.
        outputs: width of the targets.
        layers: number of layers of the encoder, its input included: L.
    """

    def __init__(self, config: PredictorConfig, width: int, outputs: int, layers: int) -> None:
        super().__init__(config, width, outputs)
        self.layer_weights = nn.Parameter(torch.randn(config.depth, layers) * layers**-0.5)
        self.norms = nn.ModuleList(LayerNorm(width, eps=1e-6) for _ in range(config.depth))

    def forward(
        self,
        context_BnD: Tensor,
        visible_Bn: Tensor,
        hidden_Bm: Tensor,
        grid: tuple[int, int],
        valid_Bn: Tensor | None = None,
        hidden_valid_Bm: Tensor | None = None,
    ) -> Tensor:
        """As in `Predictor`, but with all layers in the context: (B, 1 + n, L, D)."""
        positions_NW = sincos_positions(grid, self.config.width, context_BnD.device)
        queries_BmW, valid = self.queries(positions_NW, hidden_Bm), self.with_class(valid_Bn)
        mixtures = self.layer_weights.to(context_BnD.dtype) @ context_BnD  # (B, 1 + n, depth, D)
        for block, norm, mixture in zip(self.blocks, self.norms, mixtures.unbind(2), strict=True):
            context_BnW = self.with_positions(self.context(norm(mixture)), positions_NW, visible_Bn)
            queries_BmW = block(queries_BmW, context_BnW, valid)
        return self.head(self.norm(queries_BmW))
