"""Scaled dot-product attention, with the fastest kernel for the device.

Legend: B sequences, H heads, N queries, M keys, E head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.model.positions import Places
from aasp.parts import Parts


class AttentionConfig(ABC):
    """Base class of an attention's configuration, a frozen dataclass."""

    @abstractmethod
    def build(self, width: int, heads: int) -> nn.Module:
        """Build a block's attention: a module whose `forward(x, valid, places)` mixes the tokens of each sequence.

        Its inputs are normalised tokens x, shape (B, 1 + N, D), the class token first, if there is one; which of them
        are valid, boolean, shape (B, 1 + N), or None if all are; and the `Places` of the N patch tokens. Its output has
        the shape of x; outputs of valid tokens must not depend on invalid ones.
        """


@dataclass(frozen=True)
class FullAttentionConfig(AttentionConfig):
    """Every token attends to all tokens.

    Attributes:
        kind: the name of this attention in recipes; not written to JSON files, for compatibility.
    """

    kind: ClassVar[str] = "full"

    def build(self, width: int, heads: int) -> Attention:
        return Attention(width, heads)


ATTENTIONS: Parts[AttentionConfig] = Parts(
    "attention",
    AttentionConfig,  # type: ignore[type-abstract]
    {
        "full": "aasp.model.attention:FullAttentionConfig",
        "differential": "aasp.model.differential:DifferentialConfig",
        "relative": "aasp.model.relative:RelativeConfig",
    },
    unnamed="full",
)


def attend(q_BHNE: Tensor, k_BHME: Tensor, v_BHME: Tensor, valid_BM: Tensor | None = None) -> Tensor:
    """Attention of queries to keys, shape (B, H, N, E).

    Uses the fused kernel, except for bf16 on CPUs with gradients: there its backward pass takes two to seven times as
    long as two plain products (docs/decisions/speed.md).

    Args:
        q_BHNE: queries.
        k_BHME: keys.
        v_BHME: values.
        valid_BM: valid keys, boolean, shape (B, M); all if omitted.
    """
    mask = None if valid_BM is None else valid_BM[:, None, None]
    plain = q_BHNE.device.type == "cpu" and q_BHNE.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if not plain:
        return functional.scaled_dot_product_attention(q_BHNE, k_BHME, v_BHME, attn_mask=mask)
    clips, heads, _, width = q_BHNE.shape
    with torch.autocast("cpu", enabled=False):  # it would convert the softmax to fp32 and back
        q, k, v = (x.flatten(0, 1) for x in (q_BHNE, k_BHME, v_BHME))
        scores = torch.baddbmm(q.new_empty(1), q, k.mT, beta=0, alpha=width**-0.5)
        if mask is not None:
            scores = scores.unflatten(0, (clips, heads)).masked_fill(~mask, -torch.inf).flatten(0, 1)
        return (torch.softmax(scores, dim=-1) @ v).unflatten(0, (clips, heads))


class Attention(nn.Module):
    """Multi-head self-attention, independent of positions.

    Args:
        width: token width.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None, places: Places | None = None) -> Tensor:
        q, k, v = _heads(self.qkv(x_BND), 3, self.heads)
        return self.out(attend(q, k, v, valid_BN).transpose(1, 2).flatten(-2))


class CrossAttention(nn.Module):
    """Multi-head attention of queries to a context of the same width.

    Args:
        width: token width.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor, valid: Tensor | None = None) -> Tensor:
        (q,), (k, v) = _heads(self.q(queries), 1, self.heads), _heads(self.kv(context), 2, self.heads)
        return self.out(attend(q, k, v, valid).transpose(1, 2).flatten(-2))


def _heads(x_BNC: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split channels into `parts` tensors of shape (B, H, N, E).

    The split is before heads and tokens are transposed, so that gradients are concatenated in one copy, not two.
    """
    return tuple(part.transpose(1, 2) for part in x_BNC.unflatten(-1, (parts, heads, -1)).unbind(2))
