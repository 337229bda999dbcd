"""A log-spectrogram with equally spaced, equally wide bands: its frequency resolution is uniform.

Legend: M bands.
Source: the short-time Fourier transform; triangles instead of its bins, so that the number of bands can fit any stem,
are ours. With as many bands as the transform has inner bins, the bands are these bins.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from aasp.config import check_range
from aasp.features.energies import BandsConfig, Energies, WholeWindows, triangles


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
    """A linear log-spectrogram.

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
