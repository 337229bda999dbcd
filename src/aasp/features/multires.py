"""A log-mel with several window lengths: short ones resolve time, long ones frequency.

Windows of all lengths are centred on the same instants. Bins alternate between lengths: with W lengths, bin m uses
length number m mod W, with a triangle W times as wide as in a log-mel of M bins. So centres are uniform on the mel
axis, as in a log-mel, each length covers the whole band, and a patch of a few bins contains all lengths.

Legend: M bins, W window lengths.
Source: ours; stacking several lengths is common, alternating bins is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.features.bands import BandsConfig, Energies, WholeWindows, triangles
from aasp.features.mel import hz_to_mel, mel_to_hz
from aasp.tracing import is_known


@dataclass(frozen=True)
class MultiresConfig(BandsConfig):
    """A log-mel with several window lengths.

    Attributes:
        kind: the name of this front end in recipes.
        windows_ms: W window lengths in milliseconds, each at most `window_ms`, which is the longest.
        floor: smallest energy before the logarithm, for energies scaled to a window of 25 ms.
    """

    kind: ClassVar[str] = "multires"
    window_ms: float = 64.0
    fft: int = 1024
    windows_ms: tuple[float, ...] = (16.0, 64.0)
    floor: float = 2.0**-23
    mean: float = -4.11
    std: float = 11.39

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "front end", "windows_ms floor")
        if not self.windows_ms or max(self.windows_ms) != self.window_ms:
            text = ",".join(f"{one:g}" for one in self.windows_ms) or "empty"
            raise AaspError(f"front end: windows_ms is {text}; give lengths of which {self.window_ms:g} is the longest")
        if self.bands % len(self.windows_ms):
            raise AaspError(
                f"front end: {self.bands} bands must be a multiple of the {len(self.windows_ms)} window lengths"
            )
        for turn in range(len(self.windows_ms)):
            self.bank(turn)

    def build(self) -> Multires:
        return Multires(self)

    def centres(self) -> np.ndarray:
        return self._corners()[1]

    def bank(self, turn: int) -> Tensor:
        """Weights of the transform's bins in the bands of window length number `turn`, (K, M / W)."""
        return triangles(self, *(corner[turn :: len(self.windows_ms)] for corner in self._corners()))

    def _corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        turns = len(self.windows_ms)
        low, high = hz_to_mel(np.array([self.low_hz, self.high_hz]))
        step = (high - low) / (self.bands - 1 + 2 * turns)
        centre = low + (np.arange(self.bands) + turns) * step
        return mel_to_hz(centre - turns * step), mel_to_hz(centre), mel_to_hz(centre + turns * step)


class Multires(WholeWindows):
    """Waveforms to a normalised log-mel with several window lengths.

    The energies of each length are divided by length / 25 ms, so that stationary noise has the same level in all.

    Args:
        config: its settings.
    """

    in_float64 = True
    config: MultiresConfig

    def __init__(self, config: MultiresConfig | None = None) -> None:
        super().__init__(config or MultiresConfig())
        c = self.config
        self.lengths = nn.ModuleList(
            Energies(c.windows(ms), partial(c.bank, turn)) for turn, ms in enumerate(c.windows_ms)
        )

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        c, found = self.config, []
        for energies, ms in zip(self.lengths, c.windows_ms, strict=True):
            assert isinstance(energies, Energies)
            inset = (c.window - energies.config.window) // 2
            wave = wave_BS[:, inset:]
            if is_known(frames):
                wave = wave[:, : energies.config.samples(frames)]
            found.append(energies.transform(wave, frames) * (25.0 / ms))
        energy_BTM = torch.stack(found, dim=-1).flatten(2)
        return (torch.log(energy_BTM.clamp_min(c.floor)) - c.mean) / c.std
