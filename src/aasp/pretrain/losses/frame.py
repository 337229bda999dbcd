"""Frame loss: predict the teacher's target at hidden patches.

Legend: B clips, V views, m predicted patches, D width.
Source: data2vec 2.0 and EAT (mean squared error); here a mean over channels too.
"""

from __future__ import annotations

from torch import Tensor


def frame_loss(predicted_BVmD: Tensor, target_BVmD: Tensor, valid_BVm: Tensor) -> Tensor:
    """Mean squared error over valid predicted patches and channels.

    Args:
        predicted_BVmD: the predictor's output, shape (B, V, m, D).
        target_BVmD: the teacher's targets at the same patches.
        valid_BVm: which of them count, boolean, shape (B, V, m).
    """
    error_BVm = (predicted_BVmD.float() - target_BVmD).square().mean(-1)
    weight = valid_BVm.to(error_BVm.dtype)
    return (error_BVm * weight).sum() / weight.sum()
