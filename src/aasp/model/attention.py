"""Scaled dot-product attention, by whichever kernel is fastest where it runs.

Legend: B sequences, H heads, N queries, M keys, E head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(q_BHNE: Tensor, k_BHME: Tensor, v_BHME: Tensor, valid_BM: Tensor | None = None) -> Tensor:
    """Attention of queries on keys, shape (B, H, N, E).

    On processors the fused kernel's backward is three to five times slower in bf16 than two plain products (see
    docs/decisions.md), so these are used there where gradients are wanted; elsewhere the fused kernel is faster.

    Args:
        q_BHNE: queries.
        k_BHME: keys.
        v_BHME: values.
        valid_BM: keys that count, boolean, shape (B, M); all when left out.
    """
    mask = None if valid_BM is None else valid_BM[:, None, None]
    if q_BHNE.device.type != "cpu" or not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(q_BHNE, k_BHME, v_BHME, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):  # it would take the softmax to fp32 and back
        scores = (q_BHNE * q_BHNE.shape[-1] ** -0.5) @ k_BHME.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return torch.softmax(scores, dim=-1) @ v_BHME


class Attention(nn.Module):
    """Multi-head attention of tokens on a context (on themselves when none is given).

    Args:
        width: token width.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BND: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x_BND).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v, valid_BN).transpose(1, 2).flatten(-2))


class CrossAttention(nn.Module):
    """Multi-head attention of queries on a context of the same width.

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
        q = self.q(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v, valid).transpose(1, 2).flatten(-2))
