"""The predictor: hidden patches ask what the visible ones know.

Legend: B views, n visible patches (and the class token), m hidden ones, G x F grid, D encoder width, W predictor width.
Source: "cross" is CrossMAE's idea (cross-attention and MLP, no self-attention), so every query is answered alone and a
random part of them is an unbiased estimate of all. The controls: "self" is MAE's decoder, "conv" is EAT's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.model.attention import CrossAttention
from aasp.model.encoder import Block, EncoderConfig, Mlp
from aasp.model.positions import sincos_positions


@dataclass(frozen=True)
class PredictorConfig:
    """Form and size of the predictor.

    Attributes:
        form: "cross", attention of queries on visible tokens; "self", on visible tokens and queries together; "conv",
            3 x 3 convolutions on the grid, hidden patches filled in.
        depth: blocks.
        width: width W, a multiple of heads and of 4.
        heads: attention heads; groups of the convolutions.
    """

    form: Literal["cross", "self", "conv"] = "cross"
    depth: int = 4
    width: int = 192
    heads: int = 6

    def __post_init__(self) -> None:
        check_range(self, "predictor", "depth width heads", least=1)
        if self.width % self.heads or self.width % 4:
            raise AaspError(
                f"predictor: width {self.width} must be a multiple of 4 and of heads {self.heads}; change one of them"
            )


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


class ConvolutionBlock(nn.Module):
    """A grouped 3 x 3 convolution on the grid, layer norm and GELU, with a residual sum."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(config.width, config.width, 3, padding=1, groups=config.heads)

    def forward(self, x_BWGF: Tensor) -> Tensor:
        y = self.convolution(x_BWGF).movedim(1, -1)
        return x_BWGF + functional.gelu(functional.layer_norm(y, y.shape[-1:])).movedim(-1, 1)


class Predictor(nn.Module):
    """Predict the teacher's targets at hidden patches.

    Args:
        config: its form and size.
        width: encoder width D.
        outputs: width of the targets; D when left out.
    """

    def __init__(self, config: PredictorConfig, width: int, outputs: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.mask_token = nn.Parameter(0.02 * torch.randn(config.width))
        self.context = nn.Linear(width, config.width)
        blocks = {
            "cross": lambda: PredictorBlock(config),
            "self": lambda: Block(EncoderConfig(config.width, heads=config.heads), drop_path=0.0),
            "conv": lambda: ConvolutionBlock(config),
        }
        self.blocks = nn.ModuleList(blocks[config.form]() for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, outputs or width)

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
            valid_Bn: which visible tokens count, boolean; all when left out. The class token always does.
            hidden_valid_Bm: which hidden ones do.
        """
        context = self.context(context_BnD)
        places = sincos_positions(grid, self.config.width, context.device)
        queries = places[hidden_Bm] + self.mask_token.to(places.dtype)
        with_class = None if valid_Bn is None else functional.pad(valid_Bn, (1, 0), value=True)
        if self.config.form == "cross":
            for block in self.blocks:
                queries = block(queries, context, with_class)
        elif self.config.form == "self":
            x = torch.cat([context + functional.pad(places[visible_Bn], (0, 0, 1, 0)), queries], dim=1)
            if with_class is not None and hidden_valid_Bm is not None:
                with_class = torch.cat([with_class, hidden_valid_Bm], dim=1)
            for block in self.blocks:
                x, _ = block(x, with_class)
            queries = x[:, context.shape[1] :]
        else:
            x_BWGF = self._filled(context[:, 1:], visible_Bn, valid_Bn, grid)
            for block in self.blocks:
                x_BWGF = block(x_BWGF)
            queries = x_BWGF.flatten(2).mT.gather(1, hidden_Bm[..., None].expand(-1, -1, self.config.width))
        return self.head(self.norm(queries))

    def _filled(self, tokens: Tensor, visible_Bn: Tensor, valid_Bn: Tensor | None, grid: tuple[int, int]) -> Tensor:
        """Visible tokens in their places on the grid, the mask token in all others, shape (B, W, G, F)."""
        empty = self.mask_token.to(tokens.dtype)
        if valid_Bn is not None:
            tokens = torch.where(valid_Bn[..., None], tokens, empty)
        filled = empty.expand(len(tokens), grid[0] * grid[1], -1)
        return filled.scatter(1, visible_Bn[..., None].expand_as(tokens), tokens).mT.unflatten(2, grid)
