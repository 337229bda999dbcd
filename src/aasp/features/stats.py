"""Mean and deviation of a set's log-mel, in one pass and float64, for the normalisation of a front end.

Source: the merge of partial moments is Chan, Golub & LeVeque 1979.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aasp.features.contract import FrontEnd
from aasp.features.logmel import LogMel, LogMelConfig


@dataclass(frozen=True)
class Moments:
    """Number, mean and sum of squared differences from the mean of some values; `+` merges two sets of values."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """Moments of a tensor of any shape with at least one element, computed in float64."""
        values = values.double()
        mean = values.mean()
        return cls(values.numel(), float(mean), float((values - mean).square().sum()))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        if count == 0:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * other.count / count
        return Moments(count, mean, self.squares + other.squares + apart**2 * self.count * other.count / count)

    @property
    def std(self) -> float:
        """Deviation of the values (divided by their number, not by one less)."""
        return (self.squares / self.count) ** 0.5


def unnormalised(config: LogMelConfig) -> LogMel:
    """The front end without normalisation, for measuring its statistics."""
    return LogMel(replace(config, mean=0.0, std=1.0))


def measure(front: FrontEnd, wave_S: Tensor) -> Moments:
    """Moments over all frames and bins of one clip, without padding.

    Args:
        front: from `unnormalised`, or another front end with mean 0 and std 1.
        wave_S: the clip at the front end's rate, shape (S,).

    Raises:
        AaspError: the clip is shorter than one analysis window.
    """
    with torch.no_grad():
        mel_BTM, _ = front(wave_S[None])
    return Moments.of(mel_BTM)
