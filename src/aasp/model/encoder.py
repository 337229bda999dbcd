"""The vision transformer that encodes patch tokens.

Legend: B sequences, N tokens (the class token first), D width, H heads.
Source: ViT; "post" norm as in data2vec 2.0 and EAT, "pre" as in ViT and MAE, "deep" as in BEATs (Wang et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import widened
from aasp.config import ADDED_LATER, check_range
from aasp.errors import AaspError
from aasp.model.attention import ATTENTIONS, AttentionConfig, FullAttentionConfig
from aasp.model.positions import Places, PositionConvolution, of_table, positions
from aasp.model.relative import RelativeConfig


@dataclass(frozen=True)
class EncoderConfig:
    """Size and form of the transformer.

    Attributes:
        width: token width D.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP, relative to D.
        norm: "pre" (before each part, and once at the end), "post" (after each residual sum, and on the input), or
            "deep": post-norm, with the residual scaled by (2 * depth) ** 1/4 and smaller initial weights.
        drop_path: largest rate of stochastic depth, rising linearly with depth.
        attention: attention of every block.
        learned: time patches and subbands (G, F) of a learned table of position embeddings, of which shorter clips use
            the first rows; fixed sine-cosine embeddings if omitted.
        distilled: a second class token, as in DeiT; the returned class token is the mean of both.
        class_token: whether there is a class token; if not, the mean of the valid tokens is returned instead.
        convolution: kernel and groups of a convolution over the tokens that computes position embeddings.
    """

    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: float = 4.0
    norm: Literal["pre", "post", "deep"] = "pre"
    drop_path: float = 0.0
    attention: Annotated[AttentionConfig, ATTENTIONS] = field(default_factory=FullAttentionConfig)
    learned: tuple[int, int] | None = field(default=None, metadata=ADDED_LATER)
    distilled: bool = field(default=False, metadata=ADDED_LATER)
    class_token: bool = field(default=True, metadata=ADDED_LATER)
    convolution: tuple[int, int] | None = field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_range(self, "encoder", "width heads", most=16_384)
        check_range(self, "encoder", "depth", most=512)
        check_range(self, "encoder", "mlp_ratio", most=64)
        check_range(self, "encoder", "drop_path", least=0, below=1)
        if self.width % self.heads or self.width % 4:
            raise AaspError(
                f"encoder: width {self.width} must be a multiple of 4 and of heads {self.heads}; change one of them"
            )
        if self.learned is not None:
            check_range(self, "encoder", "learned", least=1, most=65_536)
        if self.distilled and type(self.attention) is not FullAttentionConfig:
            raise AaspError("encoder: distilled=true works only with attention=full; set one of them")
        if self.distilled and not self.class_token:
            raise AaspError("encoder: distilled=true needs class_token=true; set one of them")
        if self.class_token and type(self.attention) is RelativeConfig:
            raise AaspError("encoder: attention=relative does not support a class token; set class_token=false")
        if self.convolution is not None:
            check_range(self, "encoder", "convolution", least=1)
            if self.learned is not None:
                raise AaspError("encoder: learned and convolution both define positions; set only one of them")
            if self.width % self.convolution[1]:
                text = f"convolution of {self.convolution[1]} groups of {self.width} channels"
                raise AaspError(f"encoder: {text}; give groups that divide the width")


@dataclass
class EncoderOutput:
    """The output of the encoder; all tensors except `tokens` have shape (B, 1 + N, D), the class token first.

    Attributes:
        tokens: patch tokens with position embeddings, shape (B, N, D): the input of the first block, before a norm.
        last: normalised output of the last block.
        blocks: output of each block, if requested.
        ffn: output of each block's MLP before the residual sum, if requested.
    """

    tokens: Tensor
    last: Tensor
    blocks: list[Tensor]
    ffn: list[Tensor]


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class DropPath(nn.Module):
    """Stochastic depth: drop a residual branch for whole sequences while training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_BND: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x_BND
        keep = torch.rand(x_BND.shape[0], 1, 1, device=x_BND.device) >= self.rate
        return x_BND * keep.to(x_BND.dtype) / (1 - self.rate)


class Block(nn.Module):
    """Self-attention and MLP, each with a residual connection."""

    def __init__(self, config: EncoderConfig, drop_path: float) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.residual = (2 * config.depth) ** 0.25 if config.norm == "deep" else 1.0
        self.norm1, self.norm2 = _norm(config), _norm(config)
        self.attention = config.attention.build(config.width, config.heads)
        self.mlp = Mlp(config.width, int(config.width * config.mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None, places: Places | None = None) -> tuple[Tensor, Tensor]:
        """The block's output, and its MLP's output before the residual sum; `places` are passed to the attention."""
        if self.pre:
            x_BND = x_BND + self.drop_path(self.attention(self.norm1(x_BND), valid_BN, places))
            ffn = self.mlp(self.norm2(x_BND))
            return x_BND + self.drop_path(ffn), ffn
        x_BND = self.norm1(self.residual * x_BND + self.drop_path(self.attention(x_BND, valid_BN, places)))
        ffn = self.mlp(x_BND)
        return self.norm2(self.residual * x_BND + self.drop_path(ffn)), ffn


class Encoder(nn.Module):
    """Transformer encoder with a class token; it adds position embeddings.

    Args:
        config: its size and form.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        if config.class_token:
            self.class_token = nn.Parameter(torch.randn(config.width) * 0.02)
        else:
            self.register_buffer("class_token", torch.zeros(config.width))
        if config.distilled:
            self.second_token = nn.Parameter(torch.randn(config.width) * 0.02)
        if config.learned is not None:
            self.positions = nn.Parameter(torch.randn(*config.learned, config.width) * 0.02)
        steepness = config.drop_path / max(1, config.depth - 1)
        self.blocks = nn.ModuleList(Block(config, steepness * block) for block in range(config.depth))
        self.norm = _norm(config)
        self.apply(_initialise)
        if config.convolution is not None:
            self.convolution = PositionConvolution(config.width, *config.convolution)
        if config.norm == "deep":
            _weaken(self.blocks, config)

    def forward(
        self, tokens_BND: Tensor, places: Places, valid_BN: Tensor | None = None, layers: bool = False
    ) -> EncoderOutput:
        """Encode patch tokens: the whole grid, or a part of it.

        Args:
            tokens_BND: tokens of a stem, without position embeddings, shape (B, N, D).
            places: the tokens' positions on the grid.
            valid_BN: valid tokens, boolean, shape (B, N); all if omitted.
            layers: also return every block's output and MLP output.

        Raises:
            AaspError: the number of tokens is not that of `places`, or the grid is larger than a learned table.
        """
        there = places.grid[0] * places.grid[1] if places.index_Bn is None else places.index_Bn.shape[1]
        if tokens_BND.shape[1:] != (there, self.config.width):
            text = f"tokens of shape {tuple(tokens_BND.shape)} for {there} places and width {self.config.width}"
            raise AaspError(f"encoder: {text}; a stem gives one for each patch of its grid, (clips, patches, width)")
        placed_BND = tokens_BND + self._positions(places, tokens_BND, valid_BN)
        tokens_BND = placed_BND.to(self.class_token.dtype)  # positions are fp32, whatever the model's dtype
        first = [self.class_token] if self.config.class_token else []
        first += [self.second_token] if self.config.distilled else []
        x = torch.cat([*(token.expand(tokens_BND.shape[0], 1, -1) for token in first), tokens_BND], dim=1)
        if valid_BN is not None:
            valid_BN = functional.pad(valid_BN, (len(first), 0), value=True)
        x = x if self.config.norm == "pre" else self.norm(x)
        output = EncoderOutput(placed_BND, x, [], [])
        for block in self.blocks:
            x, ffn = block(x, valid_BN, places)
            if layers:
                output.blocks.append(self._one_class_token(x, valid_BN))
                output.ffn.append(self._one_class_token(ffn, valid_BN))
        output.last = self._one_class_token(self.norm(x) if self.config.norm == "pre" else x, valid_BN)
        return output

    def _positions(self, places: Places, tokens_BND: Tensor, valid_BN: Tensor | None) -> Tensor:
        if self.config.convolution is not None:
            return self.convolution(tokens_BND.to(self.class_token.dtype), places, valid_BN)
        if self.config.learned is None:
            return positions(places, self.config.width, tokens_BND.device)
        return of_table(self.positions, places)

    def _one_class_token(self, x_BND: Tensor, valid_BN: Tensor | None) -> Tensor:
        """Tokens with one class token: the mean of two, or, if there is none, the mean of valid tokens."""
        if not self.config.class_token:
            wide = widened(x_BND)  # a sum over tokens can be too large for fp16
            weight = torch.ones_like(wide[..., :1]) if valid_BN is None else valid_BN[..., None].to(wide.dtype)
            mean = (wide * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
            return torch.cat([mean.to(x_BND.dtype), x_BND], dim=1)
        if not self.config.distilled:
            return x_BND
        return torch.cat([x_BND[:, :2].mean(1, keepdim=True), x_BND[:, 2:]], dim=1)


def _norm(config: EncoderConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.width, eps=1e-5 if config.norm == "deep" else 1e-6)


@torch.no_grad()
def _weaken(blocks: nn.Module, config: EncoderConfig) -> None:
    """DeepNorm's initialisation: values, the output of attention, and both MLP layers are scaled by (8 * depth) **
    -1/4."""
    weaker = (8 * config.depth) ** -0.25
    for name, weight in blocks.named_parameters():
        if name.endswith(("attention.out.weight", "mlp.0.weight", "mlp.2.weight")):
            weight.mul_(weaker)
        elif name.endswith("attention.qkv.weight"):
            weight[-config.width :].mul_(weaker)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
