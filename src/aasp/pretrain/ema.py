"""Exponential moving average of a trained module: the teacher, or target network, of a method.

Source: data2vec (Baevski et al. 2022), BYOL; the momentum rises linearly over a share of the steps, then is constant.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from aasp.config import check_range
from aasp.training.schedules import constant, ramp


@dataclass(frozen=True)
class EMAConfig:
    """An exponential moving average.

    Attributes:
        momentum: momentum at the start.
        final_momentum: momentum from the end of the ramp on.
        ramp: share of all steps over which the momentum rises linearly.
    """

    momentum: float = 0.999
    final_momentum: float = 0.9999
    ramp: float = 0.25

    def __post_init__(self) -> None:
        check_range(self, "teacher", "momentum final_momentum ramp", least=0, most=1)

    def schedule(self, steps: int, more: int = 0) -> np.ndarray:
        """The momentum at each step, shape (steps + more,); the final one in the `more` steps of an extension."""
        rising = ramp(self.momentum, self.final_momentum, steps, over=round(self.ramp * steps))
        return np.concatenate([rising, constant(self.final_momentum, more)])


Source = TypeVar("Source", bound=nn.Module)


class EMA(nn.Module, Generic[Source]):
    """An exponential moving average of a module; always in evaluation mode, without stochastic depth.

    Parameters and statistics in buffers (of a batch norm) are averaged; other buffers, such as counts, are copied.

    Args:
        source: the module to copy.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.model: Source = copy.deepcopy(source).requires_grad_(False)
        saved = self.model.state_dict()  # without constants, such as a front end's
        self._statistics = [name for name, _ in self.model.named_buffers() if name in saved]
        self.eval()

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    @torch.no_grad()
    def update(self, source: nn.Module, momentum: float) -> None:
        """Move the average towards the source by 1 - momentum; all parameters in one call."""
        torch._foreach_lerp_(list(self.model.parameters()), list(source.parameters()), 1.0 - momentum)
        for name in self._statistics:
            ours, theirs = self.model.get_buffer(name), source.get_buffer(name)
            ours.lerp_(theirs, 1.0 - momentum) if ours.is_floating_point() else ours.copy_(theirs)

    @torch.no_grad()
    def distance(self, source: nn.Module) -> Tensor:
        """Relative distance of the average from the source, a 0-d tensor."""
        ours, theirs = tuple(self.model.parameters()), tuple(source.parameters())
        norm = lambda tensors: torch.stack(torch._foreach_norm(tensors)).norm()
        return norm(torch._foreach_sub(ours, theirs)) / norm(theirs)
