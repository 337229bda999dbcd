"""A learned front end as a user writes one: plain fp32 weights, and a buffer that is not saved."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aasp.features.contract import FrontEnd, FrontEndConfig


@dataclass(frozen=True)
class LearnedConfig(FrontEndConfig):
    """A filter bank that is learned; or normalised over each clip, so that a frame depends on all of it."""

    rate: int = 16_000
    clipwise: bool = False
    bins, frame_rate, window = 32, 100.0, 400

    def build(self) -> FrontEnd:
        return Learned(self)

    def frames(self, samples: int) -> int:
        return 0 if samples < 400 else 1 + (samples - 400) // 160


class Learned(FrontEnd):
    def __init__(self, config: LearnedConfig) -> None:
        super().__init__(config)
        self.filters = nn.Conv1d(1, 32, 400, 160)
        self.register_buffer("taper", torch.hann_window(32), persistent=False)
        self.register_buffer("unused", None, persistent=False)

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        found = self.filters(wave_BS[:, None]).mT.square().add(1e-4).log() * self.taper
        return found - found.mean(1, keepdim=True) if self.config.clipwise else found  # type: ignore[attr-defined]
