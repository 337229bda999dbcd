"""Pure modulations, cos(2π f t + φ), as log-mels or as waveforms, with f on a grid without spectral leakage.

Each f has a whole number of periods in the inner window, the G tokens that see no end of the clip, so that each
frequency and each alias is one bin of the tokens' DFT. Multiples of half the token rate are excluded: their alias is a
constant, or has one phase only.

A non-linear stem responds differently at different operating points. A log-mel has a floor, noise of fixed deviation
that is the same in every patch: alone it makes all tokens equal. A waveform's carrier is noise, always the same, and
the logarithm of its energy is the sinusoid.

Legend: n stimuli, T frames or samples, M mel bins, P frames of a patch, G inner tokens. Source: ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aasp.encoders import EncoderAdapter, LogMelAdapter
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig

BAND = (0.5, 45.0)
"""Hz, range of the modulations."""
PHASES = 2 * np.pi * np.arange(8) / 8
"""Phases of each modulation, radians."""
TOKENS = 48
"""Length of a log-mel in tokens, including its ends."""
WAVE_SECONDS, WAVE_MARGIN = 4.0, 2
"""Length of a waveform's inner window, but at least 32 tokens; and the tokens excluded at either end."""
LOG_ENERGY = LogMelConfig().std
"""Natural logarithm of energy per unit of the normalised log-mel."""


class Settings(NamedTuple):
    """Settings of the modulations."""

    frequencies: int = 24  # spread evenly on a logarithmic axis
    depth: float = 0.5  # of the sinusoid, in units of the normalised log-mel (9.1 nepers of energy; sounds deviate 0.5)
    floor: float = 0.25  # deviation of the fixed noise under a log-mel, in the same units
    seed: int = 0  # for floor, carrier and the draws for decoding


@dataclass(frozen=True)
class Modulations:
    """Stimuli for one adapter."""

    token_rate: float  # tokens per second
    tokens: int  # inner window G
    margin: int  # tokens before it
    hz: np.ndarray  # the modulation frequencies
    seconds_T: Tensor  # from the start of the inner window, float64
    modulated: Callable[[Tensor], Tensor]  # log-mels (n, T, M) or waveforms modulated by (n, T) of amplitude 1

    def make(self, hz: float, phases_n: Sequence[float] | np.ndarray) -> Tensor:
        """One stimulus for each phase, in radians at the start of the inner window."""
        phases = torch.as_tensor(phases_n, dtype=torch.float64)[:, None]
        return self.modulated((2 * math.pi * hz * self.seconds_T + phases).cos())

    def rest(self) -> Tensor:
        """The stimulus without modulation."""
        return self.modulated(torch.zeros(1, len(self.seconds_T), dtype=torch.float64))

    def inner(self, tokens_nGC: Tensor) -> np.ndarray:
        """The tokens of the inner window in float64, (n, G, C)."""
        return tokens_nGC[:, self.margin : self.margin + self.tokens].double().numpy()


def modulations(adapter: EncoderAdapter, settings: Settings) -> Modulations:
    """The stimuli for an adapter.

    Raises:
        AaspError: it has no output over time, or its receptive field is most of the clip.
    """
    rate, stream = adapter.token_rate, np.random.default_rng(settings.seed)
    if not rate:
        raise AaspError(f"{adapter.name}: gives one vector a clip; a response needs an encoder with vectors over time")
    if isinstance(adapter, LogMelAdapter):
        stem, frames = adapter.stem, adapter.stem.patch[0]
        margin = margin_of(stem.receptive_field, frames)
        tokens = TOKENS - 2 * margin
        if margin > TOKENS // 4:
            sight, most = stem.receptive_field, TOKENS // 2 * frames
            raise AaspError(f"{adapter.name}: its tokens see {sight} frames; {most} are the most that can be measured")
        floor_PM = settings.floor * stream.standard_normal((frames, stem.mels))
        floor_TM = torch.from_numpy(np.tile(floor_PM, (TOKENS, 1))).float()
        modulated = lambda swing_nT: floor_TM + (settings.depth * swing_nT).float()[..., None]
        seconds = (torch.arange(TOKENS * frames) - margin * frames).double() / adapter.frontend.config.frame_rate
    else:
        margin, tokens = WAVE_MARGIN, 2 * max(16, math.ceil(WAVE_SECONDS * rate / 2))
        samples = math.ceil((tokens + 2 * margin + 1) / rate * adapter.rate)
        carrier_T = 0.05 * torch.from_numpy(stream.standard_normal(samples)).float()
        modulated = lambda swing_nT: carrier_T * torch.exp(LOG_ENERGY / 2 * settings.depth * swing_nT).float()
        seconds = torch.arange(samples, dtype=torch.float64) / adapter.rate - margin / rate
    hz = grid(settings.frequencies, rate, tokens)
    return Modulations(rate, tokens, margin, hz, seconds, modulated)


def grid(count: int, token_rate: float, tokens: int) -> np.ndarray:
    """Frequencies over BAND, with whole periods in the inner window, none a multiple of half the token rate."""
    periods = np.arange(1, math.floor(BAND[1] * tokens / token_rate) + 1)
    periods = periods[(periods % (tokens // 2) != 0) & (periods * token_rate / tokens >= 0.8 * BAND[0])]
    wanted = np.geomspace(*BAND, count) * tokens / token_rate
    return np.unique(periods[np.abs(periods[:, None] - wanted).argmin(0)]) * token_rate / tokens


def alias(hz: np.ndarray, token_rate: float) -> np.ndarray:
    """The alias frequency of a modulation in the tokens: the distance to the nearest multiple of the token rate, Hz."""
    return np.abs(hz - np.round(hz / token_rate) * token_rate)


def margin_of(receptive_field: int, frames: int) -> int:
    """Patches on either side of a token that its window covers in part; at least one."""
    return max(1, math.ceil((receptive_field - frames) / 2 / frames))
