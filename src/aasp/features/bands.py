"""Energies of a waveform's spectrum in bands, shared by spectral front ends, and two of these: `stft` and `cqt`.

`stft` has equally spaced, equally wide bands: its frequency resolution is uniform. With as many bands as the Fourier
transform has inner bins, the bands are these bins.

`cqt` has centres on a logarithmic axis, so that a change of pitch is a shift. It is a filterbank on the power spectrum
of one window, not a constant-Q transform, which has a window per band: a band is a triangle from its lower neighbour's
centre to its upper neighbour's, with a width proportional to its frequency, but at least the resolution of the window,
rate / window on each side. Where that limit applies (with the defaults below 404 Hz) bands overlap and their Q falls
with decreasing frequency. All bands of a frame use the same samples.

Legend: B clips, S samples, T frames, K bins of the Fourier transform, M bands.
Source: windows, blocks and the matrix product for other runtimes are those of `LogMel`. `stft`: the short-time Fourier
transform; triangles instead of its bins, so that the number of bands can fit any stem, are ours. `cqt`: Brown 1991 for
the axis, Schörkhuber et al. 2014 for the minimum bandwidth; the filterbank is ours.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.features.contract import MAX_BINS, FrontEnd, FrontEndConfig
from aasp.features.logmel import LogMel, LogMelConfig


@dataclass(frozen=True)
class BandsConfig(FrontEndConfig):
    """Hann windows, their energies in bands, and the statistics of the front end's output.

    Attributes:
        rate: sampling rate in Hz.
        bands: number of bands M, the bins of a frame.
        window_ms: analysis window in milliseconds.
        hop_ms: hop between frames in milliseconds.
        fft: length of the Fourier transform in samples, at least the window.
        low_hz: lower edge of the first band.
        high_hz: upper edge of the last band.
        mean: mean that is subtracted from a frame's values.
        std: divisor of the centred values: twice their deviation, as in `LogMelConfig`. The defaults of each front end
            were measured on the first ten seconds of 150 clips of speech, music and sounds (ours, docs/extending.md).
    """

    rate: int = 16_000
    bands: int = 128
    window_ms: float = 25.0
    hop_ms: float = 10.0
    fft: int = 512
    low_hz: float = 20.0
    high_hz: float = 8_000.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "front end", "bands", least=1, most=MAX_BINS)
        self.windows(self.window_ms)

    def windows(self, window_ms: float) -> LogMelConfig:
        """The configuration of windows of that length, without DC removal or pre-emphasis.

        Raises:
            AaspError: the settings are invalid.
        """
        return LogMelConfig(
            rate=self.rate, mels=self.bands, window_ms=window_ms, hop_ms=self.hop_ms, fft=self.fft, low_hz=self.low_hz,
            high_hz=self.high_hz, periodic=True, remove_dc=False, preemphasis=0.0, mean=self.mean, std=self.std,
        )  # fmt: skip

    @property
    def bins(self) -> int:
        return self.bands

    @property
    def window(self) -> int:
        """Window length in samples."""
        return self.windows(self.window_ms).window

    @property
    def hop(self) -> int:
        """Hop in samples."""
        return self.windows(self.window_ms).hop

    @property
    def frame_rate(self) -> float:
        return self.rate / self.hop

    def frames(self, samples: int) -> int:
        return self.windows(self.window_ms).frames(samples)

    @property
    def band(self) -> tuple[float, float]:
        return self.low_hz, self.high_hz


class WholeWindows(FrontEnd):
    """A front end with a frame for each whole window, and a hop of whole samples."""

    def frames(self, lengths_B: Tensor) -> Tensor:
        c = self.config  # on the device of the lengths, without waiting for it, and in graphs for any length
        hop = round(c.rate / c.frame_rate)
        return torch.where(lengths_B < c.window, 0, 1 + (lengths_B - c.window).div(hop, rounding_mode="floor"))


class Energies(LogMel):
    """Energies (B, T, M) of windows in bands, not normalised.

    Args:
        config: the windows.
        bank: returns the weights of the K bins in each band, shape (K, M); the mel triangles if omitted.
    """

    def __init__(self, config: LogMelConfig, bank: Callable[[], Tensor] | None = None) -> None:
        self._bank = bank
        super().__init__(config)

    def constants(self) -> dict[str, Tensor]:
        constants = super().constants()
        return constants if self._bank is None else constants | {"filterbank": self._bank()}

    def _scaled(self, real: Tensor, imag: Tensor) -> Tensor:
        return (real.square() + imag.square()) @ self.filterbank.to(real.dtype)


def triangles(config: BandsConfig, left_M: np.ndarray, centre_M: np.ndarray, right_M: np.ndarray) -> Tensor:
    """Weights of bands that are triangles of height 1 over frequency, fp32 (K, M).

    Args:
        config: defines the Fourier transform.
        left_M, centre_M, right_M: corners in Hz.

    Raises:
        AaspError: a triangle lies between two bins and would be empty.
    """
    bins_K1 = np.arange(config.fft // 2 + 1)[:, None] * config.rate / config.fft
    bank = np.minimum((bins_K1 - left_M) / (centre_M - left_M), (right_M - bins_K1) / (right_M - centre_M)).clip(0)
    if not bank.any(0).all():
        empty, step = int(np.argmin(bank.any(0))), config.rate / config.fft
        text = f"band {empty} at {centre_M[empty]:.0f} Hz holds no bin of fft {config.fft}, which are {step:g} Hz apart"
        raise AaspError(f"front end: {text}; raise fft or take fewer bands than {config.bands}")
    return torch.from_numpy(bank).float()


@dataclass(frozen=True)
class LogBandsConfig(BandsConfig):
    """Settings shared by front ends whose values are log-energies of triangular bands.

    Attributes:
        floor: smallest energy before the logarithm.
    """

    floor: float = 2.0**-23

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "front end", "floor")
        self.bank()

    def build(self) -> LogBands:
        return LogBands(self)

    @abstractmethod
    def corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Left, centre and right corner of each band in Hz, each (M,)."""

    def bank(self) -> Tensor:
        """Weights of the transform's bins in each band, (K, M)."""
        return triangles(self, *self.corners())

    def centres(self) -> np.ndarray:
        return self.corners()[1]


class LogBands(WholeWindows):
    """Waveforms to normalised log-energies of bands.

    Args:
        config: its settings.
    """

    in_float64 = True
    config: LogBandsConfig

    def __init__(self, config: LogBandsConfig) -> None:
        super().__init__(config)
        self.energies = Energies(config.windows(config.window_ms), config.bank)

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        c = self.config
        return (torch.log(self.energies.transform(wave_BS, frames).clamp_min(c.floor)) - c.mean) / c.std


@dataclass(frozen=True)
class STFTConfig(LogBandsConfig):
    """A log-spectrogram with a linear frequency axis.

    Attributes:
        kind: the name of this front end in recipes.
    """

    kind: ClassVar[str] = "stft"
    low_hz: float = 0.0
    mean: float = -7.55
    std: float = 11.47

    def corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        edges = np.linspace(self.low_hz, self.high_hz, self.bands + 2)
        return edges[:-2], edges[1:-1], edges[2:]


@dataclass(frozen=True)
class LogFrequencyConfig(LogBandsConfig):
    """A log-spectrogram with a logarithmic frequency axis.

    Attributes:
        kind: the name of this front end in recipes.
        window_ms: analysis window in milliseconds, longer than usual to resolve low pitches.
    """

    kind: ClassVar[str] = "cqt"
    window_ms: float = 64.0
    fft: int = 1024
    low_hz: float = 60.0
    mean: float = -3.06
    std: float = 10.99

    def __post_init__(self) -> None:
        if self.low_hz <= 0:
            raise AaspError(f"front end: low_hz is {self.low_hz:g}; a logarithmic axis has no zero, give 60 or so")
        super().__post_init__()

    def corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        edges, least = np.geomspace(self.low_hz, self.high_hz, self.bands + 2), self.rate / self.window
        centre = edges[1:-1]
        return np.minimum(edges[:-2], centre - least), centre, np.maximum(edges[2:], centre + least)
