"""Utterance loss: each view's class token predicts the teacher's summary of the whole clip.

Legend: B clips, V views, D width.
Source: EAT (mean squared error, no head); here a mean over views and channels. In EAT's scale its weight is the number
of views per GPU.
"""

from __future__ import annotations

from torch import Tensor


def utterance_loss(cls_BVD: Tensor, target_BD: Tensor | None) -> Tensor:
    """Mean squared error over views and channels.

    Args:
        cls_BVD: the student's class tokens, shape (B, V, D).
        target_BD: the teacher's clip summaries; None: there is no target, and the loss is 0.
    """
    if target_BD is None:
        return cls_BVD.sum() * 0.0 + 0.0
    return (cls_BVD.float() - target_BD[:, None]).square().mean()
