"""A log-mel of limited range: values are clipped to a fixed number of decibels below a clip's loudest bin.

Legend: B clips, S samples, T frames, M mel bins.
Source: `top_db` of torchaudio's AmplitudeToDB, as used by ATST (Li, Shao & Li 2024). The limit is computed from the
whole clip, so a frame depends on all others: whole clips and exports are exact, and `encoder.stream` rejects it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from aasp.config import check_range
from aasp.devices import copied
from aasp.features.contract import FrontEnd, FrontEndConfig
from aasp.features.logmel import LogMelConfig

NEPER = math.log(10.0) / 10
"""One decibel as a difference of natural logarithms of power."""


@dataclass(frozen=True)
class RangedConfig(FrontEndConfig):
    """A log-mel of limited range.

    Attributes:
        kind: the name of this front end in recipes.
        range_db: range below a clip's loudest bin, in decibels.
        logmel: the log-mel that is limited, including its normalisation.
    """

    kind: ClassVar[str] = "ranged"
    range_db: float = 80.0
    logmel: LogMelConfig = field(default_factory=LogMelConfig)

    def __post_init__(self) -> None:
        check_range(self, "front end", "range_db")

    def build(self) -> Ranged:
        return Ranged(self)

    @property
    def rate(self) -> int:  # type: ignore[override]
        """Sampling rate in Hz."""
        return self.logmel.rate

    @property
    def mean(self) -> float:
        """Mean that is subtracted from the log-mel."""
        return self.logmel.mean

    @property
    def std(self) -> float:
        """Divisor of the centred log-mel."""
        return self.logmel.std

    @property
    def bins(self) -> int:
        return self.logmel.bins

    @property
    def frame_rate(self) -> float:
        return self.logmel.frame_rate

    @property
    def window(self) -> int:
        return self.logmel.window

    @property
    def band(self) -> tuple[float, float]:
        return self.logmel.band

    def frames(self, samples: int) -> int:
        return self.logmel.frames(samples)

    def samples(self, frames: int) -> int:
        return self.logmel.samples(frames)

    def centres(self) -> np.ndarray:
        return self.logmel.centres()


class Ranged(FrontEnd):
    """Waveforms to normalised log-mels of limited range.

    Args:
        config: its settings.
    """

    in_float64 = True
    config: RangedConfig

    def __init__(self, config: RangedConfig) -> None:
        super().__init__(config)
        self.logmel = config.logmel.build()

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        return self.logmel.transform(wave_BS, frames)

    def frames(self, lengths_B: Tensor) -> Tensor:
        return self.logmel.frames(lengths_B)

    def forward(self, wave_BS: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x_BTM, frames_B = super().forward(wave_BS, lengths_B)
        # Frames beyond a clip's end do not count for its maximum, and stay zero.
        own_BT1 = torch.arange(x_BTM.shape[1], device=x_BTM.device) < copied(frames_B, x_BTM.device)[:, None]
        own_BT1 = own_BT1[..., None]
        loudest_B11 = x_BTM.masked_fill(~own_BT1, -torch.inf).amax((1, 2), keepdim=True)
        limited = torch.maximum(x_BTM, loudest_B11 - self.config.range_db * NEPER / self.config.std)
        return torch.where(own_BT1, limited, x_BTM), frames_B
