"""LEAF: a filterbank on the waveform, trained with the model.

    x -> |x * g_m|^2, one complex Gabor filter per bin -> a Gaussian low-pass, every hop -> at least 1e-5 -> PCEN

    g_m(n) = exp(-n^2 / (2 sigma_m^2)) exp(i eta_m n) / (sqrt(2 pi) sigma_m)        n samples from the centre

Legend: B clips, S samples, T frames, M filters, L taps of a filter.
Source: Zeghidour, Teboul, de Chaumont Quitry & Tagliasacchi 2021, "LEAF: A Learnable Frontend for Audio
Classification": filters, bounds of eta and sigma, low-pass, floor, PCEN and all initial values, 7 parameters per filter
(448 for 64). Ours, besides those in `filters`: eta is folded, not limited; PCEN's alpha, delta and r
(`EnergyNormalisation`) and the low-pass's width are trained as logarithms; 128 filters, as in the other front ends'
grid, where LEAF has 40.
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
from aasp.features.pcen import EnergyNormalisation

HALF = math.sqrt(2 * math.log(2))
"""Half width at half maximum of a Gaussian, in deviations."""
MAX_DEVIATION = 0.5
"""Largest deviation of the low-pass, relative to half its length; the smallest is one tap (LEAF's bounds)."""


@dataclass(frozen=True)
class LEAFConfig(FiltersConfig):
    """Learned Gabor filters, low-pass and PCEN.

    A frame depends on all previous frames of its clip, as with PCEN: `encoder.stream` rejects it.

    Attributes:
        kind: the name of this front end in recipes.
        floor: smallest energy; PCEN would amplify smaller ones.
        s, alpha, delta, r, eps: initial values of PCEN.
        mean: mean that is subtracted from a frame's values.
        std: divisor of the centred values, as in `BandsConfig`.
    """

    kind: ClassVar[str] = "leaf"
    floor: float = 1e-5
    s: float = 0.04
    alpha: float = 0.96
    delta: float = 2.0
    r: float = 0.5
    eps: float = 1e-12
    mean: float = 0.197
    std: float = 0.609

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "front end", "floor alpha delta r eps std")
        check_range(self, "front end", "s", below=1)

    def build(self) -> LEAF:
        return LEAF(self)

    @property
    def deviation_range(self) -> tuple[float, float]:
        """Bounds of a filter's deviation in samples: it is at most as wide as the band and as long as its taps."""
        return 4 * HALF / math.pi, self.taps * HALF / math.pi

    def deviations(self) -> np.ndarray:
        """Initial deviation of each filter in samples, (M,): its response is as wide at half height as √triangle, or
        as its bounds allow."""
        edges = self.edges()
        return np.clip(HALF * self.rate / (np.pi * 0.75 * (edges[2:] - edges[:-2])), *self.deviation_range)


class LEAF(Filters):
    """Waveforms to normalised energies of learned filters.

    Args:
        config: its settings.
    """

    in_float64 = True
    config: LEAFConfig

    def __init__(self, config: LEAFConfig | None = None) -> None:
        super().__init__(config or LEAFConfig())
        c = self.config
        numbers = lambda values: nn.Parameter(torch.tensor(values, dtype=torch.float32), requires_grad=c.trained)
        self.eta = numbers((2 * np.pi * c.centres() / c.rate).tolist())
        self.sigma = numbers(c.deviations().tolist())
        self.width_raw = numbers([math.log(0.4)] * c.filters)
        self.normalise = EnergyNormalisation(c.filters, c.s, c.alpha, c.delta, c.r, c.eps, c.trained)

    def centres(self) -> Tensor:
        """Current centre frequencies in Hz, (M,), in filter order, not necessarily rising."""
        return self._bounded(finest_type(self.eta.device))[0].detach() * self.config.rate / (2 * math.pi)

    def learned(self) -> dict[str, Tensor]:
        if not self.config.trained:
            return {}
        dtype = finest_type(self.eta.device)
        return {
            "centre (Hz)": self.centres(),
            "deviation (samples)": self._bounded(dtype)[1].detach(),
            "low-pass (of half its length)": self._width(dtype).detach(),
        } | self.normalise.learned()

    def filters(self, dtype: torch.dtype) -> Tensor:
        eta, sigma = (one[:, None] for one in self._bounded(dtype))
        time = torch.arange(self.config.taps, dtype=dtype, device=eta.device) - (self.config.taps - 1) / 2
        envelope = torch.exp(-0.5 * (time / sigma).square()) / (math.sqrt(2 * math.pi) * sigma)
        return torch.cat([envelope * torch.cos(eta * time), envelope * torch.sin(eta * time)])

    def lowpass(self, dtype: torch.dtype) -> Tensor:
        """The low-pass of each filter, (M, pooled), with 1 at its centre: not normalised, as in LEAF."""
        half = (self.config.pooled - 1) / 2
        time = torch.arange(self.config.pooled, dtype=dtype, device=self.eta.device) - half
        return torch.exp(-0.5 * (time / (self._width(dtype)[:, None] * max(half, 1))).square())

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        c = self.config
        return (self.normalise(self.energies(wave_BS, frames).clamp_min(c.floor)) - c.mean) / c.std

    def _width(self, dtype: torch.dtype) -> Tensor:
        """Deviation of each low-pass, relative to half its length, from one tap to `MAX_DEVIATION`."""
        return projected_clamp(self.width_raw.to(dtype).exp(), 2 / self.config.pooled, MAX_DEVIATION)

    def _bounded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """eta in 0 to pi, and sigma in its `deviation_range`."""
        return folded_frequency(self.eta.to(dtype)), projected_clamp(self.sigma.to(dtype), *self.config.deviation_range)
