"""Perturbations of a sound: shifts and modulations that a listener hardly notices; and the table of them.

Every perturbation acts on the waveform, so that any encoder can be measured. "Fast" and "slow" are above and below
the post-patch Nyquist frequency, half the rate of the encoder's tokens.

Legend: B clips, S samples of a clip. Source: ours.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.stability.excerpts import HOP, RATE, SPARE, Excerpts, modulated

DECIBEL = 3.0
"""rms change of the log-mel at which modulation rates are compared."""
RATES = (1.0, 1.7, 3.0, 5.0, 9.0, 15.0, 26.0, 45.0)
"""Hz, evenly spaced in octaves; at 50 Hz, the Nyquist frequency of the frames, phase and depth can't be
distinguished."""
DEPTHS = {9.0: (1.0, 6.0), 26.0: (1.0, 6.0)}
"""Rates that are also measured at other depths, rms dB."""
CONTROLS = (1.5, 3.0, 6.0, 12.0, 24.0)
"""rms dB: a shift of half a patch moves the log-mel of real clips by 4 to 34 dB, half of them by more than 10."""
BATCH = 25
"""Clips per batch. Random draws depend on it."""
FAMILIES = ("shift", "slow AM", "fast AM")
"""Rows that are pooled, in the order of tables. Others are clean, control and AM depth."""


class Perturbation(ABC):
    """A change of given kind and strength; its randomness comes from a generator."""

    @abstractmethod
    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        """The perturbed clips, shape (B, S)."""

    def source_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """Time in the clean clip of the content at `seconds` of a perturbed one."""
        return seconds


@dataclass(frozen=True)
class Shift(Perturbation):
    """The clip begins some frames later: an exact cut of the longer source."""

    frames: int

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        first = SPARE + self.frames * HOP
        return clips.source[:, first : first + clips.samples]

    def source_seconds(self, seconds: np.ndarray) -> np.ndarray:
        return seconds + self.frames * HOP / RATE


@dataclass(frozen=True)
class AmplitudeModulation(Perturbation):
    """Amplitude modulation at `rate_hz` with random phase that changes the log-mel by `decibel` rms."""

    rate_hz: float
    decibel: float

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        return _swinging(clips, self.rate_hz, _phases(clips, rng), self.decibel)


@dataclass(frozen=True)
class SlowModulation(Perturbation):
    """The control: amplitude modulation at a rate drawn for each clip from a band below the Nyquist frequency."""

    low_hz: float
    high_hz: float
    decibel: float

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        phase_B1 = _phases(clips, rng)
        rate_B = torch.from_numpy(rng.uniform(self.low_hz, self.high_hz, len(clips)))
        return _swinging(clips, rate_B[:, None], phase_B1, self.decibel)


def _phases(clips: Excerpts, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.uniform(0, 2 * np.pi, (len(clips), 1)))


def _swinging(clips: Excerpts, rate_hz: float | Tensor, phase_B1: Tensor, decibel: float) -> Tensor:
    angle_BS = 2 * math.pi * rate_hz * torch.arange(clips.samples, dtype=torch.float64) / RATE + phase_B1
    return modulated(clips.clean, angle_BS.cos().float(), decibel)


@dataclass(frozen=True)
class Row:
    """A perturbation in the table.

    Attributes:
        key: short and unique.
        family: the family it belongs to.
        label: its name in tables.
        perturbation: the perturbation.
        stream: rows of one stream draw the same rates and phases, so that they differ in strength alone.
    """

    key: str
    family: str
    label: str
    perturbation: Perturbation
    stream: str = ""

    def waves(self, clips: Excerpts, seed: int) -> Iterator[Tensor]:
        """The perturbed clips, BATCH at a time, each (B, S); the same for the same seed."""
        stream = zlib.crc32((self.stream or self.key).encode())
        for number, batch in enumerate(clips.batches(BATCH)):
            yield self.perturbation.apply(batch, np.random.default_rng([seed, stream, number]))


CLEAN = Row("clean", "clean", "clean", Shift(0))


def rows(nyquist_hz: float, seconds: float) -> list[Row]:
    """All rows but the clean one, for half the token rate and a clip's length; a control has a full period in it."""
    found = [
        Row(f"shift {n}", "shift", f"{n} frame{'s' * (n > 1)}, {1000 * n * HOP // RATE} ms", Shift(n))
        for n in range(1, 16)
    ]
    for hertz in RATES:
        key, family = f"AM {hertz:g} Hz", "fast AM" if hertz > nyquist_hz else "slow AM"
        depths = {DECIBEL: (key, family)} | {d: (f"{key} {d:g} dB", "AM depth") for d in DEPTHS.get(hertz, ())}
        for decibel, names in depths.items():
            am = AmplitudeModulation(hertz, decibel)
            found.append(Row(*names, f"{hertz:g} Hz, {decibel:g} dB", am, f"AM {hertz:g}"))
    low, high = 1 / seconds, 0.9 * nyquist_hz
    for decibel in CONTROLS:
        label = f"AM, {low:.2g} to {high:.2g} Hz, {decibel:g} dB"
        found.append(Row(f"control {decibel:g} dB", "control", label, SlowModulation(low, high, decibel), "control"))
    return found
