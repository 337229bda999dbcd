"""A stem, a front end and a recipe of your own, in one file outside `aasp`.

The stem's token is linear in each bin's mean and deviation over a patch; the front end is linear in frequency.

    aasp pretrain examples/own_stem.py:own_tiny --data sounds/ --out runs/own
    aasp embed runs/own sounds/*.wav --out own.npz --plugin examples/own_stem.py
    aasp pretrain aasp_tiny --set model.stem=examples/own_stem.py:MomentsConfig --data sounds/ --out runs/moments

B clips, S samples, T frames, M bins, G x F grid of patches, P frames x R bins of a patch, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from aasp.features import FrontEnd, FrontEndConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.recipes import aasp_tiny
from aasp.stems import Stem, StemConfig


@dataclass(frozen=True)
class MomentsConfig(StemConfig):
    patch: tuple[int, int] = (16, 16)

    def build(self, width: int, mels: int) -> Stem:
        return MomentsStem(width, mels, self)


class MomentsStem(Stem):
    def __init__(self, width: int, mels: int, config: MomentsConfig) -> None:
        super().__init__(width, mels, config.patch)
        self.project = nn.Linear(2 * config.patch[1], width)

    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        patches = self.cut(mel_BTM)  # (B, G, F, P, R)
        deviation = (patches.var(3, correction=0) + 1e-6).sqrt()
        return self.project(torch.cat([patches.mean(3), deviation], dim=-1)).flatten(1, 2)  # (B, G * F, D)


@dataclass(frozen=True)
class LinearConfig(FrontEndConfig):
    rate: int = 16_000
    bins: int = 128
    window: int = 400
    hop: int = 160
    mean: float = -4.0
    std: float = 8.0

    def build(self) -> FrontEnd:
        return LinearSpectrogram(self)

    @property
    def frame_rate(self) -> float:
        return self.rate / self.hop

    def frames(self, samples: int) -> int:
        return 0 if samples < self.window else 1 + (samples - self.window) // self.hop

    def centres(self) -> np.ndarray:  # for figures only
        return np.arange(1, self.bins + 1) * self.rate / (4 * self.bins)


class LinearSpectrogram(FrontEnd):
    in_float64 = True  # computes in the waveform's type
    config: LinearConfig

    def transform(self, wave_BS: Tensor, frames: int) -> Tensor:
        c = self.config
        taper = torch.hann_window(c.window, dtype=wave_BS.dtype, device=wave_BS.device)
        spectrum = torch.fft.rfft(wave_BS.unfold(1, c.window, c.hop) * taper, n=4 * c.bins)[..., 1 : c.bins + 1]
        return ((spectrum.real.square() + spectrum.imag.square() + 1e-6).log() - c.mean) / c.std  # (B, T, M)

    def frames(self, lengths_B: Tensor) -> Tensor:  # on tensors, for exports
        return ((lengths_B - self.config.window) // self.config.hop + 1).clamp_min(0)


def own_tiny() -> Recipe:
    tiny = aasp_tiny()
    return replace(tiny, name="own_tiny", model=replace(tiny.model, frontend=LinearConfig(), stem=MomentsConfig()))
