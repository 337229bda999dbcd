"""Shared by front ends that convolve a waveform with filters: sizes, initial filters, energies.

    x -> |x * g_m|^2, one complex filter per bin -> a low-pass, every hop -> compression by each front end

Legend: B clips, S samples, T frames, M filters, L taps of a filter.
Source: Zeghidour et al. 2021 (see `leaf`). Ours: frames for whole windows only, without padding; filters are
initialised from the formula of the mel triangles, not at the nearest bin of a Fourier transform; parameters beyond
their bounds still learn.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from aasp.casting import without_tf32
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.features.bands import WholeWindows
from aasp.features.contract import MAX_BINS, MAX_FFT, FrontEndConfig
from aasp.features.mel import mel_edges
from aasp.tracing import is_exported, is_known
from aasp.waveforms import MAX_RATE


@dataclass(frozen=True)
class FiltersConfig(FrontEndConfig):
    """Filters of a waveform, with a low-pass and a hop.

    Attributes:
        rate: sampling rate in Hz.
        filters: number of filters M, the bins of a frame.
        window_ms: length of a filter, and of the low-pass, in milliseconds; a frame depends on twice that.
        hop_ms: hop between frames in milliseconds.
        stride: samples from one output of the filters to the next, a divisor of the hop; 1 as published. A larger one
            reduces the cost in proportion; beyond rate / (2 bandwidths) the energies alias.
        low_hz, high_hz: edges of the mel triangles from which filters are initialised.
        trained: whether the front end's parameters are trained with the model.
    """

    rate: int = 16_000
    filters: int = 128
    window_ms: float = 25.0
    hop_ms: float = 10.0
    stride: int = 1
    low_hz: float = 60.0
    high_hz: float = 7_800.0
    trained: bool = True

    def __post_init__(self) -> None:
        check_range(self, "front end", "filters stride", least=1, most=MAX_BINS)
        check_range(self, "front end", "rate", most=MAX_RATE)
        check_range(self, "front end", "window_ms hop_ms", most=1_000)
        if not 0 <= self.low_hz < self.high_hz <= self.rate / 2:
            text = f"low_hz {self.low_hz:g} to high_hz {self.high_hz:g} must lie in 0 to {self.rate / 2:g} Hz"
            raise AaspError(f"front end: {text}, half the sampling rate; change low_hz, high_hz or rate")
        if not 0 < self.window <= MAX_FFT or not self.hop:
            text = f"windows of {self.window:,} samples every {self.hop:,}"
            raise AaspError(f"front end: {text}; give windows of 1 to {MAX_FFT:,}, and a hop of at least 1")
        if self.hop % self.stride:
            raise AaspError(f"front end: stride {self.stride} doesn't divide the hop of {self.hop} samples; try 1 or 2")

    @property
    def bins(self) -> int:
        return self.filters

    @property
    def taps(self) -> int:
        """Length L of a filter in samples, odd, so that it has a centre tap."""
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
        """Samples that a frame depends on: the filter's, and as many again for the low-pass."""
        return self.taps + (self.pooled - 1) * self.stride

    @property
    def frame_rate(self) -> float:
        return self.rate / self.hop

    def frames(self, samples: int) -> int:
        return 0 if samples < self.window else 1 + (samples - self.window) // self.hop

    def centres(self) -> np.ndarray:
        """Initial centre frequencies; the front end's `centres` returns the current ones."""
        return self.edges()[1:-1]

    @property
    def band(self) -> tuple[float, float]:
        return (0.0, self.rate / 2) if self.trained else (self.low_hz, self.high_hz)

    @property
    def not_onnx(self) -> str:
        return "ONNX Runtime doesn't convolve in float64; use torch.export, or another front end"

    def edges(self) -> np.ndarray:
        """Corners, in Hz, of the mel triangles from which filters are initialised, (M + 2,)."""
        return mel_edges(self.low_hz, self.high_hz, self.filters)


class Filters(WholeWindows):
    """A front end whose frames are computed from the energies of filter outputs."""

    config: FiltersConfig

    @abstractmethod
    def filters(self, dtype: torch.dtype) -> Tensor:
        """The real, then the imaginary parts of all filters, (2 M, L)."""

    @abstractmethod
    def lowpass(self, dtype: torch.dtype) -> Tensor:
        """The low-pass of each filter, (M, pooled)."""

    def energies(self, wave_BS: Tensor, frames: int) -> Tensor:
        """Energies after filter and low-pass at every frame, (B, T, M)."""
        c, dtype = self.config, wave_BS.dtype
        if not is_known(frames):  # samples that no frame uses are cut off, so that the graph can count the frames
            samples = (frames - 1) * c.hop + c.window
            wave_BS = wave_BS[:, torch.arange(samples, device=wave_BS.device)]
        with without_tf32():
            both = functional.conv1d(wave_BS[:, None], self.filters(dtype)[:, None], stride=c.stride)
            real, imag = both.chunk(2, dim=1)
            energy = real.square() + imag.square()  # (B, M, outputs)
            pooled = functional.conv1d(energy, self.lowpass(dtype)[:, None], stride=c.hop // c.stride, groups=c.filters)
        return pooled.mT.contiguous()


def folded_frequency(frequency: Tensor) -> Tensor:
    """Frequencies in radians per sample, folded into 0 to pi.

    A filter of a real signal at eta has the energies of those at -eta and at eta + 2 pi. So nothing is clamped: at 0
    and pi themselves the gradient is zero, and a filter would stay there for ever.
    """
    beyond = (frequency < 0) | (frequency > math.pi)
    return torch.where(beyond, math.pi - (frequency.remainder(2 * math.pi) - math.pi).abs(), frequency)


def projected_clamp(x: Tensor, least: float, most: float) -> Tensor:
    """Values within bounds; one that lies outside is returned as the bound, and still learns its way back.

    The gradient of a plain clamp is zero outside, so that a value which a step moved there would stay for ever. Here
    only gradients whose descent leads further out are zero, as in projected gradient descent.

    Args:
        x: the values.
        least, most: the bounds.
    """
    if is_exported() or not (torch.is_grad_enabled() and x.requires_grad):
        return x.clamp(least, most)
    return _Bounded.apply(x, least, most)  # type: ignore[no-any-return, no-untyped-call]


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, least: float, most: float) -> Tensor:
        return x.clamp(least, most)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        x, *context.bounds = inputs
        context.save_for_backward(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,), (least, most) = context.saved_tensors, context.bounds
        outward = ((x < least) & (gradient > 0)) | ((x > most) & (gradient < 0))
        return gradient.masked_fill(outward, 0.0), None, None
