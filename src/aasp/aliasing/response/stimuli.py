"""Pure modulations, cos(2π f t + φ), as log-mels or as waveforms, with f on a grid where nothing leaks.

The f are whole numbers of periods of the inner window, the G tokens that see no end of the clip, so that each frequency
and each alias is one bin of the tokens' DFT. Multiples of half the token rate are left out: their alias is a constant,
or has one phase only.

A non-linear stem responds differently at different points of operation. A log-mel rests on a floor, noise of fixed
deviation which recurs in every patch: by itself it makes every token the same. A waveform's carrier is noise, always
the same, and the logarithm of its energy is the sinusoid.

Legend: n stimuli, T frames, M mel bins, P frames of a patch, S samples, G inner tokens. Source: ours.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.encoders import EncoderAdapter, LogMelAdapter
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig

BAND = (0.5, 45.0)
"""Hz, of the modulations."""
TOKENS = 48
"""Of a log-mel, its ends included."""
WAVE_SECONDS, WAVE_MARGIN = 4.0, 2
"""Of a waveform's inner window, but never fewer than 32 tokens; and the tokens left out at either end."""
LOG_ENERGY = LogMelConfig().std
"""Natural logarithm of energy that a unit of the normalised log-mel stands for."""


@dataclass(frozen=True)
class Settings:
    """How modulations are put in.

    Attributes:
        frequencies: how many, spread evenly on a logarithmic axis.
        depth: amplitude of the sinusoid, in units of the normalised log-mel (9.1 nepers of energy; sounds deviate 0.5).
        floor: deviation of the fixed noise that a log-mel rests on, in the same units.
        seed: of floor, carrier and of what decoding draws.
    """

    frequencies: int = 24
    depth: float = 0.5
    floor: float = 0.25
    seed: int = 0


class Modulations(ABC):
    """Stimuli for one adapter.

    Attributes:
        token_rate: tokens per second.
        tokens: inner window G.
        margin: tokens before it.
        subbands: that can be modulated one at a time; 1 for waveforms.
        hz: the modulation frequencies.
    """

    token_rate: float
    tokens: int
    margin: int
    subbands: int
    hz: np.ndarray

    @abstractmethod
    def make(self, hz: float, phases: Sequence[float], subband: int | None = None) -> Tensor:
        """One stimulus for each phase (radians at the inner window's start), in one subband or in all."""

    @abstractmethod
    def rest(self) -> Tensor:
        """The one stimulus without modulation."""

    def inner(self, tokens_nGC: Tensor) -> np.ndarray:
        """The tokens of the inner window in float64, (n, G, C)."""
        return tokens_nGC[:, self.margin : self.margin + self.tokens].double().numpy()


class MelModulations(Modulations):
    """Modulations of the normalised log-mel.

    Raises:
        AaspError: the stem's receptive field is most of the clip.
    """

    def __init__(self, adapter: LogMelAdapter, settings: Settings) -> None:
        stem = adapter.stem
        frames, mels = stem.patch[0], stem.mels
        self.token_rate, self.subbands = adapter.token_rate, stem.subbands
        self.margin = margin_of(stem.receptive_field, frames)
        self.tokens = TOKENS - 2 * self.margin
        if self.margin > TOKENS // 4:
            raise AaspError(
                f"{adapter.name}: its tokens see {stem.receptive_field} frames; "
                f"{TOKENS // 2 * frames} are the most that can be measured"
            )
        self.depth, self.frame_rate, self.frames = settings.depth, adapter.frontend.config.frame_rate, TOKENS * frames
        floor = settings.floor * np.random.default_rng(settings.seed).standard_normal((frames, mels))
        self.floor_TM = torch.from_numpy(np.tile(floor, (TOKENS, 1))).float()
        self.start = self.margin * frames
        self.hz = grid(settings.frequencies, self.token_rate, self.tokens)

    def make(self, hz: float, phases: Sequence[float], subband: int | None = None) -> Tensor:
        seconds = (torch.arange(self.frames, dtype=torch.float64) - self.start) / self.frame_rate
        height = self.floor_TM.shape[1] // self.subbands
        rows = slice(None) if subband is None else slice(subband * height, (subband + 1) * height)
        mel = self.floor_TM.repeat(len(phases), 1, 1)
        mel[:, :, rows] += (self.depth * swing(hz, seconds, phases)).float()[..., None]
        return mel

    def rest(self) -> Tensor:
        return self.floor_TM[None]


class WaveModulations(Modulations):
    """Modulations of a noise that is always the same."""

    subbands = 1

    def __init__(self, adapter: EncoderAdapter, settings: Settings) -> None:
        self.token_rate, self.margin = adapter.token_rate, WAVE_MARGIN
        self.tokens = 2 * max(16, math.ceil(WAVE_SECONDS * adapter.token_rate / 2))
        samples = math.ceil((self.tokens + 2 * self.margin + 1) / adapter.token_rate * adapter.rate)
        self.depth, self.rate = settings.depth, adapter.rate
        self.carrier_S = 0.05 * torch.from_numpy(np.random.default_rng(settings.seed).standard_normal(samples)).float()
        self.hz = grid(settings.frequencies, self.token_rate, self.tokens)

    def make(self, hz: float, phases: Sequence[float], subband: int | None = None) -> Tensor:
        assert subband is None, "a waveform has no subbands of its own"
        seconds = torch.arange(len(self.carrier_S), dtype=torch.float64) / self.rate - self.margin / self.token_rate
        return self.carrier_S * torch.exp(LOG_ENERGY / 2 * self.depth * swing(hz, seconds, phases)).float()

    def rest(self) -> Tensor:
        return self.carrier_S[None]


def swing(hz: float, seconds: Tensor, phases: Sequence[float]) -> Tensor:
    """cos(2π f t + φ) in float64, a row a phase."""
    return (2 * math.pi * hz * seconds + torch.tensor(phases, dtype=torch.float64)[:, None]).cos()


def grid(count: int, token_rate: float, tokens: int) -> np.ndarray:
    """Frequencies over BAND, in whole periods of the inner window, none a multiple of half the token rate."""
    periods = np.arange(1, math.floor(BAND[1] * tokens / token_rate) + 1)
    periods = periods[(periods % (tokens // 2) != 0) & (periods * token_rate / tokens >= 0.8 * BAND[0])]
    wanted = np.geomspace(*BAND, count) * tokens / token_rate
    return np.unique(periods[np.abs(periods[:, None] - wanted).argmin(0)]) * token_rate / tokens


def alias(hz: np.ndarray, token_rate: float) -> np.ndarray:
    """Where tokens show a modulation: the distance to the nearest multiple of the token rate, Hz."""
    return np.abs(hz - np.round(hz / token_rate) * token_rate)


def margin_of(receptive_field: int, frames: int) -> int:
    """Patches to either side of a token that its window reaches into; at least one."""
    return max(1, math.ceil((receptive_field - frames) / 2 / frames))
