"""The rows of the table: which perturbations are tried, and which belong together.

"Fast" and "slow" are above and below the post-patch Nyquist frequency, half the rate of the encoder's tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from aasp.aliasing.stability.excerpts import HOP, RATE, Excerpts
from aasp.aliasing.stability.perturb import (
    AmplitudeModulation,
    FrequencyModulation,
    Jitter,
    Perturbation,
    Shift,
    SlowModulation,
)

DECIBEL = 3.0
"""rms change of the log-mel at which modulation rates are compared."""
RATES = (1.0, 1.7, 3.0, 5.0, 9.0, 15.0, 26.0, 45.0)
"""Hz, evenly spaced in octaves; at 50 Hz, the Nyquist frequency of the frames, phase could not be told from depth."""
DEPTHS = {9.0: (1.0, 6.0), 26.0: (1.0, 6.0)}
"""Rates that are tried at other depths too, rms dB."""
CONTROLS = (1.5, 3.0, 6.0, 12.0, 24.0)
"""rms dB: a shift of half a patch moves the log-mel of real clips by 4 to 34 dB, half of them by more than 10."""
BATCH = 25
"""Clips at a time. What is random depends on it."""

FAMILIES = ("shift", "slow AM", "fast AM", "slow FM", "fast FM", "jitter")
"""Rows that are summed up together, in the order of tables. Besides there are clean, control and AM depth."""


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
    stream: str = field(default="")

    def waves(self, clips: Excerpts, seed: int) -> Iterator[Tensor]:
        """The perturbed clips, BATCH at a time, each (B, S); the same for the same seed."""
        stream = zlib.crc32((self.stream or self.key).encode())
        for number, batch in enumerate(clips.batches(BATCH)):
            yield self.perturbation.apply(batch, np.random.default_rng([seed, stream, number]))


CLEAN = Row("clean", "clean", "clean", Shift(0))


def rows(nyquist_hz: float, seconds: float) -> list[Row]:
    """All rows but the clean one.

    Args:
        nyquist_hz: half the token rate.
        seconds: length of a clip; a control swings once in it at least.
    """
    pace = lambda hertz: "fast" if hertz > nyquist_hz else "slow"
    found = [
        Row(f"shift {n}", "shift", f"{n} frame{'s' * (n > 1)}, {1000 * n * HOP // RATE} ms", Shift(n))
        for n in range(1, 16)
    ]
    for hertz in RATES:
        family, stream = f"{pace(hertz)} AM", f"AM {hertz:g}"
        am = AmplitudeModulation(hertz, DECIBEL)
        found.append(Row(f"AM {hertz:g} Hz", family, f"{hertz:g} Hz, {DECIBEL:g} dB", am, stream))
        for decibel in DEPTHS.get(hertz, ()):
            am, key = AmplitudeModulation(hertz, decibel), f"AM {hertz:g} Hz {decibel:g} dB"
            found.append(Row(key, "AM depth", f"{hertz:g} Hz, {decibel:g} dB", am, stream))
    for hertz in (2.0, 6.0, 20.0):
        fm = FrequencyModulation(hertz, 0.03)
        found.append(Row(f"FM {hertz:g} Hz", f"{pace(hertz)} FM", f"{hertz:g} Hz, ±3 % of frequency", fm))
    for reach in (2, 8):
        found.append(Row(f"jitter {reach} ms", "jitter", f"grains of 10 ms, ±{reach} ms", Jitter(reach)))
    band = (1 / seconds, 0.9 * nyquist_hz)
    for decibel in CONTROLS:
        slow = SlowModulation(*band, decibel)
        label = f"AM, {band[0]:.2g} to {band[1]:.2g} Hz, {decibel:g} dB"
        found.append(Row(f"control {decibel:g} dB", "control", label, slow, "control"))
    return found
