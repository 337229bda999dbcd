"""Batch norm over the clips of all processes.

Legend: n vectors of this process, D width. Source: Ioffe & Szegedy 2015, with joint statistics (like torch's
`SyncBatchNorm`, which does not support CPUs).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Gather = Callable[[Tensor], tuple[Tensor, int]]


class JoinedBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` without an affine part, with training statistics over all processes.

    Args:
        width: D.
        gather: concatenates a tensor over processes along its first dimension, differentiably.
    """

    def __init__(self, width: int, gather: Gather) -> None:
        super().__init__(width, affine=False)
        self.gather = gather

    def forward(self, x_nD: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        if not self.training:
            return super().forward(x_nD)
        total = lambda x: self.gather(x.sum(0, keepdim=True))[0].sum(0)
        count = total(torch.ones_like(x_nD[:, :1]))
        mean_D = total(x_nD) / count
        centred_nD = x_nD - mean_D
        variance_D = total(centred_nD.square()) / count
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            self.running_mean.lerp_(mean_D.to(self.running_mean.dtype), self.momentum)
            unbiased_D = variance_D * count / (count - 1).clamp(min=1)
            self.running_var.lerp_(unbiased_D.to(self.running_var.dtype), self.momentum)
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
        return centred_nD * torch.rsqrt(variance_D + self.eps)
