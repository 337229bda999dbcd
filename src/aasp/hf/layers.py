"""Our transformer's blocks and attentions with the features that transformers expects: gradient checkpointing, and
attention weights.

A module is converted in place: its parameters and their names do not change.

Legend: B sequences, H heads, N tokens, E head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from aasp.errors import AaspError
from aasp.model.attention import Attention
from aasp.model.differential import DifferentialAttention
from aasp.model.encoder import Block, Encoder, EncoderConfig
from aasp.model.positions import Places


class AaspBlock(GradientCheckpointingLayer, Block):
    """A block with gradient checkpointing by transformers."""

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None, places: Places | None = None) -> tuple[Tensor, Tensor]:
        return Block.forward(self, x_BND, valid_BN, places)


class Eager:
    """Mixin for attention that can be computed by plain products, which give the weights that the fused kernel does
    not.

    Attributes:
        eager: whether to use plain products.
        kept: if it is a list, the weights of every call, shape (B, H, N, N), are appended to it.
    """

    eager = False
    kept: list[Tensor] | None = None

    def keep(self, weights_BHNN: Tensor) -> None:
        """Append the weights of a call to `kept`, if it is a list."""
        if self.kept is not None:
            self.kept.append(weights_BHNN)


class AaspAttention(Eager, Attention):
    """Self-attention."""

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None, places: Places | None = None) -> Tensor:
        if not self.eager:
            return super().forward(x_BND, valid_BN, places)
        q, k, v = self.qkv(x_BND).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights_BHNN = softmax(q, k, valid_BN)
        self.keep(weights_BHNN)
        return self.out((weights_BHNN @ v).transpose(1, 2).flatten(-2))


class AaspDifferentialAttention(Eager, DifferentialAttention):
    """Differential attention; its weights are the first map minus λ times the second, and may be negative."""

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None, places: Places | None = None) -> Tensor:
        if not self.eager:
            return super().forward(x_BND, valid_BN, places)
        q, k, v = self.two_maps(x_BND)
        maps_BHNN = softmax(q, k, valid_BN)
        first, second = maps_BHNN.chunk(2, dim=1)
        self.keep(first - self.weight.to(first.dtype) * second)
        return self.difference_of(maps_BHNN @ v, x_BND.dtype)


EAGER = {Attention: AaspAttention, DifferentialAttention: AaspDifferentialAttention}


def softmax(q_BHNE: Tensor, k_BHNE: Tensor, valid_BN: Tensor | None) -> Tensor:
    """Attention weights, zero for invalid keys, (B, H, N, N)."""
    scores_BHNN = q_BHNE @ k_BHNE.mT * q_BHNE.shape[-1] ** -0.5
    if valid_BN is not None:
        scores_BHNN = scores_BHNN.masked_fill(~valid_BN[:, None, None], -torch.inf)
    return torch.softmax(scores_BHNN, dim=-1)


def adapt(model: nn.Module) -> None:
    """Convert all our blocks and attentions to the classes above."""
    for module in model.modules():
        if type(module) is Block:
            module.__class__ = AaspBlock
        elif type(module) in EAGER:
            module.__class__ = EAGER[type(module)]


def set_eager(model: nn.Module, eager: bool) -> None:
    """Compute every attention by plain products, or by the fused kernel."""
    for module in model.modules():
        if isinstance(module, Eager):
            module.eager = eager


@contextmanager
def kept_attentions(encoder: Encoder) -> Iterator[list[Tensor]]:
    """Collect the weights of every block, in a list that fills as they are computed.

    Raises:
        AaspError: attention uses the fused kernel, or is of a type that gives no weights.
    """
    attentions: list[Eager] = []
    for block in encoder.blocks:
        if not isinstance(block.attention, Eager):
            raise AaspError(f"output_attentions: {type(block.attention).__name__} gives no weights; leave it out")
        attentions.append(block.attention)
    if not all(one.eager for one in attentions):
        raise AaspError("output_attentions: sdpa keeps no weights; load the model with attn_implementation='eager'")
    kept: list[Tensor] = []
    for one in attentions:
        one.kept = kept
    try:
        yield kept
    finally:
        for one in attentions:
            one.kept = None


def with_one_class_token(weights_BHNN: Tensor, config: EncoderConfig) -> Tensor:
    """Weights for the tokens that the model returns, with one class token: for two, their rows' mean and columns' sum.

    A model without a class token returns the mean of its tokens instead: its row is the mean of their rows, and its
    column is zero.
    """
    if config.class_token and not config.distilled:
        return weights_BHNN
    first = 2 if config.distilled else 0
    own = weights_BHNN[..., :first, :] if first else weights_BHNN
    rows = torch.cat([own.mean(-2, keepdim=True), weights_BHNN[..., first:, :]], dim=-2)
    return torch.cat([rows[..., :first].sum(-1, keepdim=True), rows[..., first:]], dim=-1)
