"""Convolutions on the grid, with placeholders at hidden patches.

Legend: as in `contract`. Source: data2vec 2.0's decoder, which is EAT's: 3 x 3 kernels in groups, layer norm without
weights, GELU, residual sums. EAT-Large's kernels are 5 x 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError
from aasp.pretrain.predictors.contract import Predictor, SizedPredictor

if TYPE_CHECKING:
    from aasp.pretrain.predictors import PredictorConfig

MASK_DEVIATION = 0.01


class ConvolutionBlock(nn.Module):
    """A grouped convolution on the grid, layer norm and GELU, with a residual connection."""

    def __init__(self, width: int, groups: int, kernel: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x_BWGF: Tensor) -> Tensor:
        y = self.convolution(x_BWGF).movedim(1, -1)
        return x_BWGF + functional.gelu(functional.layer_norm(y, y.shape[-1:])).movedim(-1, 1)


class ConvolutionPredictor(SizedPredictor):
    """Convolution blocks of the predictor's width on visible tokens and a learned mask token."""

    def block(self, config: PredictorConfig) -> ConvolutionBlock:
        return ConvolutionBlock(config.width, config.heads)

    def forward(
        self,
        context_BnD: Tensor,
        visible_Bn: Tensor,
        hidden_Bm: Tensor,
        grid: tuple[int, int],
        valid_Bn: Tensor | None = None,
        hidden_valid_Bm: Tensor | None = None,
    ) -> Tensor:
        tokens = self.context(context_BnD)[:, 1:]
        empty = self.mask_token.to(tokens.dtype).expand(len(tokens), grid[0] * grid[1], -1)
        x_BWGF = filled(empty, tokens, visible_Bn, valid_Bn, grid)
        for block in self.blocks:
            x_BWGF = block(x_BWGF)
        return self.head(self.norm(at(x_BWGF, hidden_Bm)))


@dataclass(frozen=True)
class DecoderConfig:
    """EAT's decoder, as wide as its encoder.

    Attributes:
        depth: number of blocks.
        groups: groups of the convolutions.
        kernel: side length of the kernels in patches, an odd number.
    """

    depth: int = 6
    groups: int = 16
    kernel: int = field(default=3, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "predictor", "depth groups kernel", least=1)
        if self.kernel % 2 == 0:
            raise AaspError(f"predictor: kernel is {self.kernel}, which has no middle; give an odd number")


class ConvolutionDecoder(Predictor):
    """Blocks on visible tokens, with noise at hidden positions, then one linear layer; no position embeddings.

    Args:
        config: its size.
        width: encoder width D.

    Raises:
        AaspError: the width is not a multiple of the groups.
    """

    def __init__(self, config: DecoderConfig, width: int) -> None:
        super().__init__()
        if width % config.groups:
            raise AaspError(f"predictor: width {width} is no multiple of groups {config.groups}; change one of them")
        self.blocks = nn.ModuleList(ConvolutionBlock(width, config.groups, config.kernel) for _ in range(config.depth))
        self.head = nn.Linear(width, width)

    def forward(
        self,
        context_BnD: Tensor,
        visible_Bn: Tensor,
        hidden_Bm: Tensor,
        grid: tuple[int, int],
        valid_Bn: Tensor | None = None,
        hidden_valid_Bm: Tensor | None = None,
    ) -> Tensor:
        tokens = context_BnD[:, 1:]
        noise = MASK_DEVIATION * torch.randn(len(tokens), grid[0] * grid[1], tokens.shape[2], device=tokens.device)
        x_BDGF = filled(noise.to(tokens.dtype), tokens, visible_Bn, valid_Bn, grid)
        for block in self.blocks:
            x_BDGF = block(x_BDGF)
        return self.head(at(x_BDGF, hidden_Bm))


def filled(
    empty_BNW: Tensor, tokens_BnW: Tensor, visible_Bn: Tensor, valid_Bn: Tensor | None, grid: tuple[int, int]
) -> Tensor:
    """Visible tokens at their grid positions, `empty_BNW` at all others, shape (B, W, G, F)."""
    index_BnW = visible_Bn[..., None].expand_as(tokens_BnW)
    if valid_Bn is not None:
        tokens_BnW = torch.where(valid_Bn[..., None], tokens_BnW, empty_BNW.gather(1, index_BnW))
    return empty_BNW.scatter(1, index_BnW, tokens_BnW).mT.unflatten(2, grid)


def at(x_BWGF: Tensor, hidden_Bm: Tensor) -> Tensor:
    """The values of the grid at the hidden positions, shape (B, m, W)."""
    return x_BWGF.flatten(2).mT.gather(1, hidden_Bm[..., None].expand(-1, -1, x_BWGF.shape[1]))
