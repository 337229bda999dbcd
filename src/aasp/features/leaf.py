"""LEAF: a filterbank that is learned with the model, on the waveform itself.

    x -> |x * g_m|^2, one complex Gabor filter a bin -> a Gaussian low-pass, every hop -> PCEN

    g_m(n) = exp(-n^2 / (2 sigma_m^2)) exp(i eta_m n) / (sqrt(2 pi) sigma_m)        n samples from the middle

Legend: B clips, S samples, T frames, M filters, L taps of a filter.
Source: Zeghidour, Teboul, de Chaumont Quitry & Tagliasacchi 2021, "LEAF: A Learnable Frontend for Audio
Classification": filters, bounds of eta and sigma, low-pass, PCEN and all start values, 7 numbers a filter (448 of 64).
Ours: frames are of whole windows, none of padding; eta and sigma begin where the mel triangles' formula says, not at
the nearest bin of a Fourier transform; PCEN's alpha, delta and r are trained as logarithms (`EnergyNormalisation`), the
low-pass's width as one too; 128 filters, for the grid of the other front ends, where LEAF has 40.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.features.contract import FASTEST, LONGEST_TRANSFORM, MOST_BINS, FrontEndConfig
from aasp.features.energies import WholeWindows
from aasp.features.pcen import EnergyNormalisation
from aasp.tracing import is_for_onnx, is_known

HALF = math.sqrt(2 * math.log(2))
"""Deviations of a Gaussian from its middle to half its height."""
WIDEST = 0.5
"""Largest deviation of the low-pass, of half its length; the least is a tap (LEAF's bounds)."""


@dataclass(frozen=True)
class LEAFConfig(FrontEndConfig):
    """Learned Gabor filters, low-pass and PCEN.

    A frame depends on all frames before it in its clip, as with PCEN: `encoder.stream` refuses it.

    Attributes:
        kind: the name of this front end in recipes.
        rate: sampling rate in Hz.
        filters: M, the values of a frame.
        window_ms: length of a filter, and of the low-pass, in milliseconds; a frame looks at twice that.
        hop_ms: hop between frames in milliseconds.
        stride: samples from one output of the filters to the next, a divisor of the hop; 1 as published. The work falls
            in proportion, and where it is over rate / (2 bandwidths) the energies themselves alias.
        low_hz, high_hz: edges of the mel triangles that filters begin as.
        trained: whether anything of it learns with the model.
        s, alpha, delta, r, eps: where PCEN begins.
        mean: what a frame's values are centred with.
        std: their divisor, as in `BandsConfig`.
    """

    kind: ClassVar[str] = "leaf"
    rate: int = 16_000
    filters: int = 128
    window_ms: float = 25.0
    hop_ms: float = 10.0
    stride: int = 1
    low_hz: float = 60.0
    high_hz: float = 7_800.0
    trained: bool = True
    s: float = 0.04
    alpha: float = 0.96
    delta: float = 2.0
    r: float = 0.5
    eps: float = 1e-12
    mean: float = 0.186
    std: float = 0.630

    def __post_init__(self) -> None:
        check_range(self, "front end", "filters stride", least=1, most=MOST_BINS)
        check_range(self, "front end", "rate", most=FASTEST)
        check_range(self, "front end", "window_ms hop_ms", most=1_000)
        check_range(self, "front end", "alpha delta r eps std")
        check_range(self, "front end", "s", below=1)
        if not 0 <= self.low_hz < self.high_hz <= self.rate / 2:
            told = f"low_hz {self.low_hz:g} to high_hz {self.high_hz:g} must lie in 0 to {self.rate / 2:g} Hz"
            raise AaspError(f"front end: {told}, half the sampling rate; change low_hz, high_hz or rate")
        if not 0 < self.window <= LONGEST_TRANSFORM or not self.hop:
            told = f"windows of {self.window:,} samples every {self.hop:,}"
            raise AaspError(f"front end: {told}; give windows of 1 to {LONGEST_TRANSFORM:,}, and a hop of at least 1")
        if self.hop % self.stride:
            raise AaspError(f"front end: stride {self.stride} doesn't divide the hop of {self.hop} samples; try 1 or 2")

    def build(self) -> LEAF:
        return LEAF(self)

    @property
    def bins(self) -> int:
        return self.filters

    @property
    def taps(self) -> int:
        """Length L of a filter in samples, odd, so that it has a middle."""
        return round(self.rate * self.window_ms / 1000) // 2 * 2 + 1

    @property
    def pooled(self) -> int:
        """Length of the low-pass in outputs of the filters, odd."""
        return (self.taps - 1) // (2 * self.stride) * 2 + 1

    @property
    def hop(self) -> int:
        """Hop in samples."""
        return round(self.rate * self.hop_ms / 1000)

    @property
    def window(self) -> int:
        """Samples that a frame looks at: a filter's, and as many again for the low-pass."""
        return self.taps + (self.pooled - 1) * self.stride

    @property
    def frame_rate(self) -> float:
        return self.rate / self.hop

    def frames(self, samples: int) -> int:
        return 0 if samples < self.window else 1 + (samples - self.window) // self.hop

    def centres(self) -> np.ndarray:
        """Where the filters begin; `LEAF.centres` tells where they are."""
        return self._edges()[1:-1]

    @property
    def band(self) -> tuple[float, float]:
        return (0.0, self.rate / 2) if self.trained else (self.low_hz, self.high_hz)

    def deviations(self) -> np.ndarray:
        """Deviation of each filter at its start in samples, (M,): half as high where a triangle's root is."""
        edges = self._edges()
        return HALF * self.rate / (np.pi * 0.75 * (edges[2:] - edges[:-2]))

    def _edges(self) -> np.ndarray:
        low, high = (1127 * np.log1p(hertz / 700) for hertz in (self.low_hz, self.high_hz))
        return 700 * np.expm1(np.linspace(low, high, self.filters + 2) / 1127)


class LEAF(WholeWindows):
    """Waveforms to normalised energies of learned filters.

    Args:
        config: its settings.
    """

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
        """Where the filters are now in Hz, (M,), in their own order, which need not rise any more."""
        return self._bounded(torch.float64)[0].detach() * self.config.rate / (2 * math.pi)

    def filters(self, dtype: torch.dtype) -> Tensor:
        """Real, then imaginary parts of all filters, (2 M, L)."""
        eta, sigma = (one[:, None] for one in self._bounded(dtype))
        time = torch.arange(self.config.taps, dtype=dtype, device=eta.device) - (self.config.taps - 1) / 2
        envelope = torch.exp(-0.5 * (time / sigma).square()) / (math.sqrt(2 * math.pi) * sigma)
        return torch.cat([envelope * torch.cos(eta * time), envelope * torch.sin(eta * time)])

    def lowpass(self, dtype: torch.dtype) -> Tensor:
        """The low-pass of each filter, (M, pooled), which LEAF does not normalise either: its middle is 1."""
        half = (self.config.pooled - 1) / 2
        time = torch.arange(self.config.pooled, dtype=dtype, device=self.eta.device) - half
        width = self.width_raw.to(dtype).exp().clamp(2 / self.config.pooled, WIDEST)[:, None]
        return torch.exp(-0.5 * (time / (width * max(half, 1))).square())

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        c, dtype = self.config, wave_BS.dtype
        if is_for_onnx():
            raise AaspError(
                "front end leaf: ONNX Runtime doesn't convolve in float64; use torch.export, or another one"
            )
        if not is_known(frames):  # what no frame looks at is left out, so that the graph can count them
            samples = (frames - 1) * c.hop + c.window
            wave_BS = wave_BS[:, torch.arange(samples, device=wave_BS.device)]
        both = functional.conv1d(wave_BS[:, None], self.filters(dtype)[:, None], stride=c.stride)
        real, imag = both.chunk(2, dim=1)
        energy = real.square() + imag.square()  # (B, M, outputs)
        pooled = functional.conv1d(energy, self.lowpass(dtype)[:, None], stride=c.hop // c.stride, groups=c.filters)
        return (self.normalise(pooled.mT.contiguous()) - c.mean) / c.std

    def _bounded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """eta in 0 to pi, and sigma so that a filter is neither wider than the band nor longer than its taps."""
        least, most = 4 * HALF / math.pi, self.config.taps * HALF / math.pi
        return self.eta.to(dtype).clamp(0, math.pi), self.sigma.to(dtype).clamp(least, most)
