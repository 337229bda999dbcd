"""Frame loss: predict the teacher's target at hidden patches.

Legend: B clips, V views, m predicted patches, D width.
Source: data2vec 2.0 and EAT (mean squared error); here also a mean over channels.
"""

from __future__ import annotations

from torch import Tensor

from aasp.pretrain.losses.valid import Gather, alone, valid_mean


def frame_loss(predicted_BVmD: Tensor, target_BVmD: Tensor, valid_BVm: Tensor, gather: Gather = alone) -> Tensor:
    """Mean squared error over valid predicted patches and channels.

    Args:
        predicted_BVmD: the predictor's output, shape (B, V, m, D).
        target_BVmD: the teacher's targets at the same patches.
        valid_BVm: which of them are valid, boolean, shape (B, V, m).
        gather: concatenates a tensor over processes; for one process if omitted.
    """
    error_BVm = (predicted_BVmD.float() - target_BVmD).square().mean(-1)
    return valid_mean(error_BVm, valid_BVm, gather)
