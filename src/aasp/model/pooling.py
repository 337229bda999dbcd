"""Pooling of tokens to one vector per clip, or one per time patch.

Legend: B clips, G time patches x F subbands, N = G * F patch tokens, D width.
Source: class token (ViT, EAT), token mean (AST), flattened frequency x time mean (M2D); the deviation is ours.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Pooling = Literal["cls", "mean", "flat", "mean+std", "flat+std", "std"]
WAYS: tuple[str, ...] = get_args(Pooling)
POOLINGS = tuple(way for way in WAYS if way != "std")
"""Poolings that probes choose from; "mean+std" contains "std"."""


def over_frequency(tokens_BND: Tensor, subbands: int, flat: bool) -> Tensor:
    """One vector per time patch: subbands flattened, (B, G, F * D), or averaged, (B, G, D)."""
    columns = tokens_BND.unflatten(1, (-1, subbands))
    return columns.flatten(2) if flat else columns.mean(2)


def pool(tokens_BND: Tensor, cls_BD: Tensor, subbands: int, valid_BG: Tensor, method: str) -> Tensor:
    """One vector per clip from its valid tokens.

    Args:
        tokens_BND: patch tokens in time-major order, shape (B, N, D).
        cls_BD: class token, shape (B, D).
        subbands: F.
        valid_BG: time patches that belong to each clip, boolean, shape (B, G).
        method: "cls"; "mean" over tokens; "flat", the mean over time of the concatenated subbands; the last two with
            "+std", which appends the deviation over time; or "std", only the deviation of the mean over subbands.

    Returns:
        Shape (B, D), (B, F * D), or twice as wide with "+std".
    """
    if method == "cls":
        return cls_BD
    x = over_frequency(tokens_BND, subbands, flat=method.startswith("flat"))
    weight = valid_BG[..., None].to(x.dtype) / valid_BG.sum(1)[:, None, None]
    mean = (x * weight).sum(1)
    if not method.endswith("std"):
        return mean
    deviation = ((x - mean[:, None]).square() * weight).sum(1).clamp_min(1e-12).sqrt()
    return deviation if method == "std" else torch.cat([mean, deviation], dim=-1)


def pooled_width(method: str, width: int, subbands: int) -> int:
    """Width D' of the output of `pool`."""
    return width * (subbands if method.startswith("flat") else 1) * (2 if method.endswith("+std") else 1)
