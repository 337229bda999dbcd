"""A constant-Q-like log-spectrogram: centres on a logarithmic axis, so that a change of pitch is a shift.

It is a filterbank on the power spectrum of one window, not a transform with a window per band: a band is a triangle
from its lower neighbour's centre to its upper neighbour's, with a width proportional to its frequency, but at least the
resolution of the window, rate / window on each side. Where that limit applies (with the defaults below 404 Hz) bands
overlap and their Q falls with decreasing frequency. All bands of a frame use the same samples.

Source: Brown 1991 for the axis, Schörkhuber et al. 2014 for the minimum bandwidth; the filterbank is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aasp.errors import AaspError
from aasp.features.stft import LogBandsConfig


@dataclass(frozen=True)
class CQTConfig(LogBandsConfig):
    """A logarithmic log-spectrogram.

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
