"""Heads: projectors and predictors between tokens and losses.

Legend: n vectors of width D.
Source: SimCLR's projector, with layer norm instead of batch norm, so that embeddings do not depend on other clips
(ours); BYOL's projector and predictor, whose batch norm is over all processes and has no running statistics, since the
heads are not used after training (ours).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aasp.casting import LayerNorm
from aasp.pretrain.methods.contract import Gather


def projector(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with layer norm and GELU between them: (..., `width`) to (..., `outputs`)."""
    return nn.Sequential(nn.Linear(width, hidden, bias=False), LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, outputs))


class BatchNorm(nn.Module):
    """Normalises each channel to mean 0 and deviation 1 over the vectors of all processes; then scale and offset.

    Args:
        width: D.
        gather: see `Gather`.
    """

    def __init__(self, width: int, gather: Gather) -> None:
        super().__init__()
        self.gather = gather
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x_nD: Tensor, valid_n: Tensor | None = None) -> Tensor:
        """Normalise vectors (n, D) by the statistics of the valid ones: boolean, shape (n,); all if omitted."""
        x_nD = x_nD.float()
        weight_n1 = x_nD.new_ones(len(x_nD), 1) if valid_n is None else valid_n[:, None].to(x_nD.dtype)
        total = lambda x: self.gather((x * weight_n1).sum(0, keepdim=True))[0].sum(0)
        count = total(torch.ones_like(weight_n1))
        centred = x_nD - total(x_nD) / count
        variance = total(centred.square()) / count
        return centred * torch.rsqrt(variance + 1e-5) * self.weight + self.bias


class BatchHead(nn.Module):
    """Two linear layers with batch norm and ReLU between them.

    Args:
        width, hidden, outputs: input, hidden and output width.
        gather: see `Gather`.
    """

    def __init__(self, width: int, hidden: int, outputs: int, gather: Gather) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden, bias=False)
        self.norm = BatchNorm(hidden, gather)
        self.outer = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(..., `width`) to (..., `outputs`); `valid` is boolean, shape (...), and all True if omitted."""
        valid = None if valid is None else valid.flatten()
        hidden = self.norm(self.inner(x.flatten(0, -2)), valid)
        return self.outer(torch.relu(hidden)).unflatten(0, x.shape[:-1])
