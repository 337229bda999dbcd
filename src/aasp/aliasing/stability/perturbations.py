"""What is done to a sound, shifts and changes over time that leave it much the same to a listener; and the table of
them.

Every perturbation acts on the waveform, so that anyone's encoder can be examined. Time moves in two ways: smoothly, by
reading the waveform between its samples; and in grains of 10 ms, each cross-faded into the next, whose offsets jump.
"Fast" and "slow" are above and below the post-patch Nyquist frequency, half the rate of the encoder's tokens.

Legend: B clips, S samples of a clip, K grains. Source: ours.
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

from aasp.aliasing.stability.excerpts import HOP, RATE, Excerpts, modulated

DECIBEL = 3.0
"""rms change of the log-mel at which modulation rates are compared."""
RATES = (1.0, 1.7, 3.0, 5.0, 9.0, 15.0, 26.0, 45.0)
"""Hz, evenly spaced in octaves; at 50 Hz, the Nyquist frequency of the frames, phase and depth can't be
distinguished."""
DEPTHS = {9.0: (1.0, 6.0), 26.0: (1.0, 6.0)}
"""Rates that are tried at other depths too, rms dB."""
CONTROLS = (1.5, 3.0, 6.0, 12.0, 24.0)
"""rms dB: a shift of half a patch moves the log-mel of real clips by 4 to 34 dB, half of them by more than 10."""
BATCH = 25
"""Clips at a time. What is random depends on it."""
FAMILIES = ("shift", "slow AM", "fast AM", "slow FM", "fast FM", "jitter")
"""Rows that are summed up together, in the order of tables. Besides there are clean, control and AM depth."""


class Perturbation(ABC):
    """A change of given kind and strength; what is random in it comes from a generator."""

    @abstractmethod
    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        """The perturbed clips, shape (B, S)."""

    def source_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """When what is at `seconds` of a perturbed clip happens in the clean one, small swings left out."""
        return seconds


@dataclass(frozen=True)
class Shift(Perturbation):
    """The clip begins some frames later: an exact cut of the longer source."""

    frames: int

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        first = clips.spare + self.frames * HOP
        return clips.source[:, first : first + clips.samples]

    def source_seconds(self, seconds: np.ndarray) -> np.ndarray:
        return seconds + self.frames * HOP / RATE


@dataclass(frozen=True)
class AmplitudeModulation(Perturbation):
    """Loudness swings `rate_hz` times a second, its phase random, and moves the log-mel by `decibel` rms."""

    rate_hz: float
    decibel: float

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        return modulated(clips.clean, _swing(clips, self.rate_hz, _phases(clips, rng)).cos().float(), self.decibel)


@dataclass(frozen=True)
class SlowModulation(Perturbation):
    """The control: amplitude modulation at a rate drawn for each clip from a band below the Nyquist frequency."""

    low_hz: float
    high_hz: float
    decibel: float

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        phase_B = _phases(clips, rng)
        rate_B = torch.from_numpy(rng.uniform(self.low_hz, self.high_hz, len(clips)))
        return modulated(clips.clean, _swing(clips, rate_B[:, None], phase_B).cos().float(), self.decibel)


@dataclass(frozen=True)
class FrequencyModulation(Perturbation):
    """All frequencies swing by the share `deviation`, `rate_hz` times a second: vibrato, by a swinging clock."""

    rate_hz: float
    deviation: float

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        reach = self.deviation / (2 * math.pi * self.rate_hz) * RATE
        swing_BS = reach * _swing(clips, self.rate_hz, _phases(clips, rng)).sin()
        return between(clips.source, clips.spare + torch.arange(clips.samples, dtype=torch.float64) + swing_BS)


@dataclass(frozen=True)
class Jitter(Perturbation):
    """Each grain of 10 ms comes from up to `milliseconds` earlier or later, evenly drawn."""

    milliseconds: float

    def apply(self, clips: Excerpts, rng: np.random.Generator) -> Tensor:
        reach = self.milliseconds * RATE / 1000
        return granulated(clips, rng.uniform(-reach, reach, (len(clips), clips.samples // HOP + 1)).round())


def granulated(clips: Excerpts, offset_BK: np.ndarray) -> Tensor:
    """Overlap-add of Hann grains of 20 ms, one every 10 ms, each read `offset` whole samples from its own place, (B,
    S).

    Between the centres of two grains, one fades out as the other fades in, and the weights sum to one: without offsets,
    (B, S / HOP + 1), the clip comes out unchanged. The first grain is centred on the first sample.
    """
    assert np.abs(offset_BK).max() <= clips.spare, "a grain from beyond the source"
    offset_BK1 = torch.from_numpy(offset_BK.astype(np.int64))[..., None]
    place_KH = clips.spare + torch.arange(clips.samples).view(-1, HOP)
    take = lambda offset: clips.source.gather(1, (place_KH + offset).flatten(1)).view(len(clips), -1, HOP)
    fade = torch.hann_window(2 * HOP)[:HOP]  # of the grain that comes in
    old, new = take(offset_BK1[:, :-1]), take(offset_BK1[:, 1:])
    return (old + fade * (new - old)).flatten(1)


def between(source_BP: Tensor, place_BS: Tensor) -> Tensor:
    """Values of waveforms between their samples: four times oversampled by zero-padding the spectrum, then cubic.

    Lagrange's cubic alone would lose treble (half of it at 8 kHz); on four times as many points it errs by -42 dB at
    8 kHz and by -65 dB at 4 kHz. The ends wrap around and are not to be read.
    """
    times = 4
    fine = torch.fft.irfft(torch.fft.rfft(source_BP), n=times * source_BP.shape[1]) * times
    place = place_BS * times
    first = place.floor()
    x = (place - first).to(source_BP.dtype)
    before, here, next_, after = (fine.gather(1, first.long() + k) for k in (-1, 0, 1, 2))
    outer = x * (after * (x + 1) - before * (x - 2)) * (x - 1) / 6
    return outer + (here * (x - 1) - next_ * x) * (x + 1) * (x - 2) / 2


def _phases(clips: Excerpts, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.uniform(0, 2 * np.pi, (len(clips), 1)))


def _swing(clips: Excerpts, rate_hz: float | Tensor, phase_B1: Tensor) -> Tensor:
    """Phase of a swing over time, radians, shape (B, S)."""
    return 2 * math.pi * rate_hz * torch.arange(clips.samples, dtype=torch.float64) / RATE + phase_B1


@dataclass(frozen=True)
class Row:
    """A perturbation in the table.

    Attributes:
        key: short and unique.
        family: what it belongs to.
        label: what tables call it.
        perturbation: what is done.
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
    """All rows but the clean one, for half the token rate and the length of a clip; a control swings once in it."""
    pace = lambda hertz: "fast" if hertz > nyquist_hz else "slow"
    found = [
        Row(f"shift {n}", "shift", f"{n} frame{'s' * (n > 1)}, {1000 * n * HOP // RATE} ms", Shift(n))
        for n in range(1, 16)
    ]
    for hertz in RATES:
        for decibel in (DECIBEL, *DEPTHS.get(hertz, ())):
            deeper = decibel != DECIBEL
            key, family = (
                f"AM {hertz:g} Hz" + f" {decibel:g} dB" * deeper,
                "AM depth" if deeper else f"{pace(hertz)} AM",
            )
            am = AmplitudeModulation(hertz, decibel)
            found.append(Row(key, family, f"{hertz:g} Hz, {decibel:g} dB", am, f"AM {hertz:g}"))
    for hertz in (2.0, 6.0, 20.0):
        fm = FrequencyModulation(hertz, 0.03)
        found.append(Row(f"FM {hertz:g} Hz", f"{pace(hertz)} FM", f"{hertz:g} Hz, ±3 % of frequency", fm))
    for reach in (2, 8):
        found.append(Row(f"jitter {reach} ms", "jitter", f"grains of 10 ms, ±{reach} ms", Jitter(reach)))
    low, high = 1 / seconds, 0.9 * nyquist_hz
    for decibel in CONTROLS:
        label = f"AM, {low:.2g} to {high:.2g} Hz, {decibel:g} dB"
        found.append(Row(f"control {decibel:g} dB", "control", label, SlowModulation(low, high, decibel), "control"))
    return found
