"""Interface of predictors: predict hidden patches from visible ones.

Legend: B sequences (views of clips), V views, n visible patches (and the class token), m hidden ones, N = G x F grid,
D encoder width, W predictor width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.pretrain.encoding import Clips
from aasp.pretrain.masking import Masks

if TYPE_CHECKING:
    from aasp.pretrain.predictors import PredictorConfig


class Predictor(nn.Module, ABC):
    """Predict targets at hidden patches."""

    @abstractmethod
    def forward(
        self,
        context_BnD: Tensor,
        visible_Bn: Tensor,
        hidden_Bm: Tensor,
        grid: tuple[int, int],
        valid_Bn: Tensor | None = None,
        hidden_valid_Bm: Tensor | None = None,
    ) -> Tensor:
        """Predictions of the hidden patches, shape (B, m, outputs).

        Args:
            context_BnD: the student's output, class token first, shape (B, 1 + n, D).
            visible_Bn: indices of the visible patches.
            hidden_Bm: indices of the hidden patches.
            grid: (G, F).
            valid_Bn: which visible tokens are valid, boolean; all if omitted. The class token always is.
            hidden_valid_Bm: which hidden patches are valid.
        """

    def predict(self, context: Tensor, masks: Masks, clips: Clips) -> Tensor:
        """`forward` for all views of a batch, shape (B, V, m, outputs).

        Args:
            context: the student's output for the views one after another, shape (B * V, 1 + n, D).
            masks: masks of the views.
            clips: the batch.
        """
        visible, visible_valid, hidden, hidden_valid = (
            index.flatten(0, 1) for index in (masks.visible, masks.visible_valid, masks.hidden, masks.hidden_valid)
        )
        valid = (None, None) if clips.valid is None else (visible_valid, hidden_valid)
        return self(context, visible, hidden, clips.grid, *valid).unflatten(0, masks.hidden.shape[:2])


class SizedPredictor(Predictor):
    """A predictor with its own width: linear layers map the context to it and its output to the targets.

    Args:
        config: its size.
        width: encoder width D.
        outputs: width of the targets.
    """

    def __init__(self, config: PredictorConfig, width: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.mask_token = nn.Parameter(0.02 * torch.randn(config.width))
        self.context = nn.Linear(width, config.width)
        self.blocks = nn.ModuleList(self.block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, outputs)

    @abstractmethod
    def block(self, config: PredictorConfig) -> nn.Module:
        """Build one block."""

    def queries(self, positions_NW: Tensor, hidden_Bm: Tensor) -> Tensor:
        """The mask token at each hidden position, shape (B, m, W)."""
        return positions_NW[hidden_Bm] + self.mask_token.to(positions_NW.dtype)

    @staticmethod
    def with_class(valid_Bn: Tensor | None) -> Tensor | None:
        """Which tokens of the context are valid, the class token first, which always is: shape (B, 1 + n)."""
        return None if valid_Bn is None else functional.pad(valid_Bn, (1, 0), value=True)
