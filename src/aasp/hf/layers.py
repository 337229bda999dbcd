"""The transformer's own blocks and attentions, with what transformers asks of them: gradient checkpointing, and the
attention's weights.

A module becomes one of these in place: its parameters and their names stay what they are.

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
from aasp.model.encoder import Block, Encoder
from aasp.model.positions import Places


class AaspBlock(GradientCheckpointingLayer, Block):
    """A block whose activations transformers can have computed again in the backward pass."""

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None, places: Places | None = None) -> tuple[Tensor, Tensor]:
        return Block.forward(self, x_BND, valid_BN, places)


class AaspAttention(Attention):
    """An attention that can be computed by plain products, which have the weights that the fused kernel keeps.

    Attributes:
        eager: by plain products.
        kept: takes the weights of every call, shape (B, H, N, N), where it is a list.
    """

    eager = False
    kept: list[Tensor] | None = None

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None, places: Places | None = None) -> Tensor:
        if not self.eager:
            return super().forward(x_BND, valid_BN, places)
        q, k, v = self.qkv(x_BND).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores_BHNN = q @ k.mT * q.shape[-1] ** -0.5
        if valid_BN is not None:
            scores_BHNN = scores_BHNN.masked_fill(~valid_BN[:, None, None], -torch.inf)
        weights_BHNN = torch.softmax(scores_BHNN, dim=-1)
        if self.kept is not None:
            self.kept.append(weights_BHNN)
        return self.out((weights_BHNN @ v).transpose(1, 2).flatten(-2))


def adapt(model: nn.Module) -> None:
    """Make every block and every attention of ours one of these."""
    for module in model.modules():
        if type(module) is Block:
            module.__class__ = AaspBlock
        elif type(module) is Attention:
            module.__class__ = AaspAttention


def set_eager(model: nn.Module, eager: bool) -> None:
    """Compute every attention by plain products, or by the fused kernel."""
    for module in model.modules():
        if isinstance(module, AaspAttention):
            module.eager = eager


@contextmanager
def kept_attentions(encoder: Encoder) -> Iterator[list[Tensor]]:
    """Keep the weights of every block, in a list that fills as they are computed.

    Raises:
        AaspError: attention is computed by the fused kernel, or is somebody's own, which has no weights to give.
    """
    attentions: list[AaspAttention] = []
    for block in encoder.blocks:
        if not isinstance(block.attention, AaspAttention):
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
