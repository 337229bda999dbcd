"""The SBLU as the filterbank: filters of a waveform with two-sided exponentials instead of Fourier transforms.

    x -> |x * w_m|^2, one complex filter per bin -> a Hann low-pass, every hop -> the logarithm

    w_m(n) = exp(-alpha_m |n|) exp(i beta_m n), of unit energy        n samples from the centre

Legend: B clips, S samples, T frames, M filters, L taps of a filter; alpha per sample, beta in radians per sample.
Source: ours. It is the SBLU of `aasp.stems.sblu` in conjugate phase and unit gain, sampled: at a waveform's sampling
rate its zero-order hold would only scale all taps of a filter equally. beta is initialised at the centres of mel
triangles; alpha so that its response is as wide at half height as √triangle, or at its smallest value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aasp.casting import finest_type
from aasp.config import check_range
from aasp.features.filters import Filters, FiltersConfig, folded_frequency, projected_clamp


@dataclass(frozen=True)
class SBLUBankConfig(FiltersConfig):
    """Learned two-sided exponentials, a low-pass and the logarithm.

    Attributes:
        kind: the name of this front end in recipes.
        stride: samples from one output of the filters to the next; with 8, energies are sampled at 2 kHz, eight times
            the initial bandwidth of the widest filter.
        eps: offset of the energy before the logarithm, for samples in -1 to 1.
        mean: mean that is subtracted from a frame's values.
        std: divisor of the centred values, as in `BandsConfig`.
    """

    kind: ClassVar[str] = "sblu"
    stride: int = 8
    eps: float = 1e-9
    mean: float = -10.93
    std: float = 12.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "front end", "eps std")

    def build(self) -> SBLUBank:
        return SBLUBank(self)

    @property
    def slowest(self) -> float:
        """Smallest decay per sample: a filter falls to exp(-2) at both ends."""
        return 4 / self.taps

    def decays(self) -> np.ndarray:
        """Initial decay of each filter per sample, (M,)."""
        edges = self.edges()
        return np.clip(np.pi * 0.75 * (edges[2:] - edges[:-2]) / self.rate, self.slowest, 1.0)


class SBLUBank(Filters):
    """Waveforms to normalised log-energies of two-sided exponential filters.

    Args:
        config: its settings.
    """

    in_float64 = True
    config: SBLUBankConfig

    def __init__(self, config: SBLUBankConfig | None = None) -> None:
        super().__init__(config or SBLUBankConfig())
        c = self.config
        numbers = lambda values: nn.Parameter(torch.tensor(values, dtype=torch.float32), requires_grad=c.trained)
        self.alpha_raw = numbers(np.log(c.decays()).tolist())
        self.beta = numbers((2 * np.pi * c.centres() / c.rate).tolist())

    def centres(self) -> Tensor:
        """Current centre frequencies in Hz, (M,), in filter order, not necessarily rising."""
        return self._bounded(finest_type(self.beta.device))[1].detach() * self.config.rate / (2 * math.pi)

    def learned(self) -> dict[str, Tensor]:
        if not self.config.trained:
            return {}
        alpha, _ = self._bounded(finest_type(self.beta.device))
        return {"centre (Hz)": self.centres(), "decay (per sample)": alpha.detach()}

    def filters(self, dtype: torch.dtype) -> Tensor:
        alpha, beta = (one[:, None] for one in self._bounded(dtype))
        time = torch.arange(self.config.taps, dtype=dtype, device=beta.device) - (self.config.taps - 1) / 2
        envelope = torch.exp(-alpha * time.abs())
        envelope = envelope / envelope.square().sum(1, keepdim=True).sqrt()
        return torch.cat([envelope * torch.cos(beta * time), envelope * torch.sin(beta * time)])

    def lowpass(self, dtype: torch.dtype) -> Tensor:
        c = self.config
        time = torch.arange(1, c.pooled + 1, dtype=dtype, device=self.beta.device)
        hann = 0.5 - 0.5 * torch.cos(2 * math.pi * time / (c.pooled + 1))
        return (hann / hann.sum()).expand(c.filters, -1)

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        c = self.config
        return ((self.energies(wave_BS, frames) + c.eps).log() - c.mean) / c.std

    def _bounded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """alpha bounded so that a filter decays within its taps and is longer than a click, and beta in 0 to pi."""
        alpha = projected_clamp(self.alpha_raw.to(dtype).exp(), self.config.slowest, 1.0)
        return alpha, folded_frequency(self.beta.to(dtype))
