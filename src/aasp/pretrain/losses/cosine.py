"""Cosine loss: predict the direction of a token, not its length.

Legend: B clips, V views, m predicted patches, D width.
Source: BYOL and M2D: the squared distance of unit vectors, 2 - 2 cos.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cosine_loss(predicted_BVmD: Tensor, target_BVmD: Tensor, valid_BVm: Tensor) -> Tensor:
    """2 - 2 cos, a mean over valid predicted patches: 0 for the same direction, 4 for the opposite one.

    Args:
        predicted_BVmD: the predictor's output, shape (B, V, m, D).
        target_BVmD: the targets at the same patches.
        valid_BVm: which of them count, boolean, shape (B, V, m).
    """
    return agreement(predicted_BVmD, target_BVmD, valid_BVm)


def agreement(predicted: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """2 - 2 cos of vectors (..., E), a mean over those that are valid, boolean, shape (...); over all when left out."""
    distance = 2 - 2 * functional.cosine_similarity(predicted.float(), target.float(), dim=-1)
    if valid is None:
        return distance.mean()
    weight = valid.to(distance.dtype)
    return (distance * weight).sum() / weight.sum()
