"""Prototypes: similarities of a token to K learned directions, and the running mean that centres a teacher's logits.

Legend: n vectors of width D, K prototypes. Source: DINO's head and centre (Caron et al. 2021). Its weight norm is
equivalent to normalising each prototype to unit length, as here, and scaling its similarities by a gain, 1 in DINO,
initially 1 and learned in MATPAC's code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import without_autocast
from aasp.config import check_range
from aasp.pretrain.methods.contract import Gather
from aasp.training.schedules import constant, ramp


@dataclass(frozen=True)
class PrototypesConfig:
    """The classification of hidden patches.

    Attributes:
        count: number of prototypes K.
        hidden: width of the head's hidden layers.
        bottleneck: width of the vector that is compared with prototypes.
        temperature: temperature of the student.
        teacher_temperature: temperature of the teacher, at the start and from the end of its ramp on.
        ramp: share of all steps over which the teacher's temperature rises linearly.
        centring: momentum of the centre.
        momentum: momentum of the target network's head, at the start and at the end.
        weight: weight of the classification loss; that of the prediction loss is 1 minus this.
    """

    count: int = 2048
    hidden: int = 2048
    bottleneck: int = 256
    temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    ramp: float = 9_827 / 294_816
    centring: float = 0.9
    momentum: tuple[float, float] = (0.998, 1.0)
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "prototypes", "count", least=2)
        check_range(self, "prototypes", "hidden bottleneck", least=1)
        check_range(self, "prototypes", "temperature teacher_temperature")
        check_range(self, "prototypes", "ramp centring momentum weight", least=0, most=1)

    def schedules(self, steps: int, more: int) -> dict[str, np.ndarray]:
        """The head's momentum and the teacher's temperature at each step, each of shape (steps + more,)."""

        def rising(ends: tuple[float, float], over: int) -> np.ndarray:
            return np.concatenate([ramp(ends[0], ends[1], steps, over=over), constant(ends[1], more)])

        temperature = rising(self.teacher_temperature, round(self.ramp * steps))
        return {"head_momentum": rising(self.momentum, steps), "teacher_temperature": temperature}


class PrototypeHead(nn.Module):
    """An MLP with GELU, normalisation to unit length, and the cosine with each prototype.

    Args:
        width, hidden, bottleneck: input, hidden and output width of the MLP.
        count: number of prototypes K.
        layers: number of linear layers of the MLP.
        gains: learn a gain for each prototype.
    """

    def __init__(
        self, width: int, hidden: int, bottleneck: int, count: int, layers: int = 3, gains: bool = False
    ) -> None:
        super().__init__()
        widths = [width, *[hidden] * (layers - 1), bottleneck]
        linear = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
        for layer in linear:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.layers = nn.Sequential(linear[0], *chain.from_iterable((nn.GELU(), layer) for layer in linear[1:]))
        self.prototypes = nn.Linear(bottleneck, count, bias=False)
        self.gains = nn.Parameter(torch.ones(count)) if gains else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., K)."""
        unit = functional.normalize(self.layers(x).float(), dim=-1)
        cosine = functional.linear(unit, functional.normalize(self.prototypes.weight, dim=-1))
        return cosine if self.gains is None else cosine * self.gains


class Centre(nn.Module):
    """The running mean of a teacher's logits over all processes; it is part of the module's state dict.

    Args:
        count: number of prototypes K.
        decay: decay of the mean per step.
        gather: see `Gather`.
    """

    mean: Tensor

    def __init__(self, count: int, decay: float, gather: Gather) -> None:
        super().__init__()
        self.decay, self.gather = decay, gather
        self.register_buffer("mean", torch.zeros(count))

    @torch.no_grad()
    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits (..., K) minus the mean of previous steps; in training, valid logits then update the mean."""
        centred = logits.float() - self.mean
        if self.training:
            weight = logits.new_ones(logits.shape[:-1]) if valid is None else valid.to(logits.dtype)
            weight = weight.flatten().float()
            with without_autocast(logits):
                sums = torch.cat([weight @ logits.flatten(0, -2).float(), weight.sum()[None]])
            total = self.gather(sums[None])[0].sum(0)
            self.mean.lerp_(total[:-1] / total[-1], 1 - self.decay)
        return centred
