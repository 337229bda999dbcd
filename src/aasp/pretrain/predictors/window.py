"""Self-attention within windows of the grid, with mask tokens at hidden patches.

Legend: as in `contract`; S side of a window, P padded grid cells of a window.
Source: Audio-MAE's decoder, after Swin: windows of 4 x 4 patches, shifted by half a window in time in every second
block (`shift_size = (2, 0)` in models_mae.py); a grid no longer than a window is not shifted. In a window that the
shift cuts at an edge, attention is limited to the remaining part, equivalent to Swin's mask. The class token is left
out, as in Audio-MAE. Ours: norms before a block and scaled dot products (Audio-MAE, as Swin v2: norms after each
residual branch, scaled cosines), and no relative position bias, since position embeddings are added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from aasp.casting import widened
from aasp.model.encoder import Block, EncoderConfig
from aasp.model.positions import sincos_positions
from aasp.pretrain.predictors.contract import SizedPredictor
from aasp.pretrain.predictors.conv import at, filled

if TYPE_CHECKING:
    from aasp.pretrain.predictors import PredictorConfig

SIDE = 4


class WindowPredictor(SizedPredictor):
    """Transformer blocks on windows of the grid; the output is that at the hidden positions."""

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
        tokens = widened(self.context(context_BnD)[:, 1:])
        empty = self.mask_token.to(tokens.dtype).expand(len(tokens), grid[0] * grid[1], -1)
        x_BWGF = filled(empty, tokens, visible_Bn, valid_Bn, grid)
        positions_NW = sincos_positions(grid, self.config.width, tokens.device).to(tokens.dtype)
        x_BGFW = x_BWGF.movedim(1, -1) + positions_NW.unflatten(0, grid)
        there_BGF = _there(visible_Bn, hidden_Bm, grid, valid_Bn, hidden_valid_Bm)
        for index, block in enumerate(self.blocks):
            shift = SIDE // 2 if index % 2 and grid[0] > SIDE else 0
            x_BGFW = _in_windows(block, x_BGFW, there_BGF, shift)
        return self.head(self.norm(at(x_BGFW.movedim(-1, 1), hidden_Bm)))


def _there(
    visible: Tensor, hidden: Tensor, grid: tuple[int, int], valid: Tensor | None, requested: Tensor | None
) -> Tensor:
    """Positions that are attended to, the visible ones and those to predict: boolean, shape (B, G, F)."""
    there = torch.zeros(len(visible), grid[0] * grid[1], dtype=torch.bool, device=visible.device)
    for index, counts in ((visible, valid), (hidden, requested)):
        counts = torch.ones_like(index, dtype=torch.bool) if counts is None else counts
        there = there | torch.zeros_like(there).scatter(1, index, counts)
    return there.unflatten(1, grid)


def _in_windows(block: torch.nn.Module, x_BGFW: Tensor, there_BGF: Tensor, shift: int) -> Tensor:
    """Apply a block to every window separately; the grid is padded to whole windows, the first in time cut by the
    shift."""
    (columns, subbands), width = x_BGFW.shape[1:3], x_BGFW.shape[3]
    padding = [0, -subbands % SIDE, shift, -(columns + shift) % SIDE]
    padded, there = functional.pad(x_BGFW, [0, 0, *padding]), functional.pad(there_BGF, padding)
    cut = lambda x: x.unflatten(2, (-1, SIDE)).unflatten(1, (-1, SIDE)).transpose(2, 3)  # (B, G / S, F / S, S, S, …)
    windows = cut(padded)
    attended = cut(there).flatten(3).flatten(0, 2)
    attended = attended | ~attended.any(1, keepdim=True)  # softmax over an empty window would be NaN
    y, _ = block(windows.flatten(3, 4).flatten(0, 2), attended)
    y = y.unflatten(1, (SIDE, SIDE)).unflatten(0, windows.shape[:3]).transpose(2, 3).reshape(*padded.shape[:3], width)
    return y[:, shift : shift + columns, :subbands]
