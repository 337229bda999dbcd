"""Cosine loss: predict the direction of a token, not its norm.

Legend: B clips, V views, m predicted patches, D width.
Source: BYOL and M2D: the squared distance of unit vectors, 2 - 2 cos.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from aasp.pretrain.losses.valid import Gather, alone, valid_mean


def cosine_loss(predicted: Tensor, target: Tensor, valid: Tensor | None = None, gather: Gather = alone) -> Tensor:
    """2 - 2 cos, a mean over valid vectors: 0 for the same direction, 4 for the opposite one.

    Args:
        predicted: shape (..., D); for hidden patches (B, V, m, D).
        target: tensor of the same shape.
        valid: which of them are valid, boolean, shape (...); all if omitted.
        gather: concatenates a tensor over processes; for one process if omitted.
    """
    distance = 2 - 2 * functional.cosine_similarity(predicted.float(), target.float(), dim=-1)
    if valid is None:
        return distance.mean()
    return valid_mean(distance, valid, gather)
