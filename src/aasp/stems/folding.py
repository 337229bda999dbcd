"""AaPE's token with its linear maps multiplied in advance: runs in place of `AaPE.plain`.

Legend: P frames x R mel bins of a patch, S states, D width. Source: ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import without_autocast

if TYPE_CHECKING:
    from aasp.stems.aape import AaPE


def by_merged_maps(stem: AaPE, patches: Tensor, y: Tensor) -> Tensor:
    """`AaPE.plain`, with the linear maps multiplied in advance.

    The only nonlinear part of the norm is a token's deviation, whose square is a quadratic form in y. So no
    intermediate has the width of a token, and no token is multiplied by a (width, width) matrix.
    """
    tokens: Tensor = stem.norm.bias
    by_sblu = None
    if stem.config.conv:
        by_conv, by_sblu = stem.fuse.weight.split(stem.width, dim=1)
        constant = by_conv @ stem.project.bias + by_sblu @ stem.norm.bias + stem.fuse.bias
        tokens = functional.linear(patches.flatten(-2), by_conv @ stem.project.weight, constant)
    with without_autocast(y):
        weight, bias = stem.output_matrix.weight.to(y.dtype), stem.output_matrix.bias.to(y.dtype)
        centred = torch.cat([weight - weight.mean(0), (bias - bias.mean())[:, None]], dim=1)
        y = functional.pad(y, (0, 1), value=1.0)
        variance = (y @ (centred.T @ centred / stem.width) * y).sum(-1, keepdim=True).clamp_min(0)
        y = y * torch.rsqrt(variance + stem.norm.eps)
        scaled = stem.norm.weight[:, None] * centred
        features = functional.linear(y, scaled if by_sblu is None else by_sblu.to(y.dtype) @ scaled)
    return tokens + features.to(tokens.dtype)


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module would run hooks."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in hooks)
