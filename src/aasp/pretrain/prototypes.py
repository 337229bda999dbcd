"""Prototypes: what a token is like among K learned directions, and the running mean that centres a teacher's answer.

Legend: n vectors of width D, K prototypes. Source: DINO's head and centre (Caron et al. 2021); two layers before the
bottleneck instead of three, and directions of unit length (ours).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.pretrain.methods.contract import Gather


class PrototypeHead(nn.Module):
    """Two linear layers with GELU between them to a unit vector, and its cosine with each prototype.

    Args:
        width, hidden, bottleneck: of its layers.
        count: prototypes K.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Linear(bottleneck, count, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., K)."""
        unit = functional.normalize(self.layers(x), dim=-1)
        return functional.linear(unit, functional.normalize(self.prototypes.weight, dim=-1))


class Centre(nn.Module):
    """The running mean of a teacher's logits over all processes; it is saved with the module.

    Args:
        count: prototypes K.
        decay: of the mean, by step.
        gather: see `Gather`.
    """

    mean: Tensor

    def __init__(self, count: int, decay: float, gather: Gather) -> None:
        super().__init__()
        self.decay, self.gather = decay, gather
        self.register_buffer("mean", torch.zeros(count))

    @torch.no_grad()
    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits (..., K) less the mean of steps before this one; training goes on with those that are valid."""
        centred = logits.float() - self.mean
        if self.training:
            weight = logits.new_ones(logits.shape[:-1]) if valid is None else valid.to(logits.dtype)
            weight = weight.flatten().float()
            sums = torch.cat([weight @ logits.flatten(0, -2).float(), weight.sum()[None]])
            total = self.gather(sums[None])[0].sum(0)
            self.mean.lerp_(total[:-1] / total[-1], 1 - self.decay)
        return centred
