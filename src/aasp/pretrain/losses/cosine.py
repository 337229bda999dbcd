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
    distance_BVm = 2 - 2 * functional.cosine_similarity(predicted_BVmD.float(), target_BVmD.float(), dim=-1)
    weight = valid_BVm.to(distance_BVm.dtype)
    return (distance_BVm * weight).sum() / weight.sum()
