"""Clips as the report shows them: a stretch of the spectrogram with the rate that each patch looks at, as JSON.

Legend: T frames, M mel bins, G x F grid of patches (time x subbands).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aasp.report.findings import Estimates
from aasp.report.spectrogram import Spectrogram

COLUMNS = 32
"""Time patches that are shown of a clip: five seconds at 160 ms a patch."""
LEVELS = 255


def overlay(name: str, clip: Spectrogram, found: Estimates) -> dict[str, Any]:
    """The stretch of a clip where patches answer strongest, its mel levels in 256 steps.

    Args:
        name: of the clip.
        clip: the whole of it.
        found: its estimates, of a batch of one.
    """
    strength_GF, rate_GF = found.strength[0], found.rate_hz[0]
    columns = min(COLUMNS, len(strength_GF))
    sums = np.convolve(strength_GF.sum(1), np.ones(columns), mode="valid")
    begin, frames = int(sums.argmax()), clip.patch[0]
    part, shown = slice(begin, begin + columns), clip.mel[begin * frames : (begin + columns) * frames]
    low, high = float(shown.min()), float(shown.max())
    return {
        "name": name,
        "begins": begin * frames / clip.frame_rate,
        "mel": np.round((shown - low) / max(high - low, 1e-9) * LEVELS).astype(int).tolist(),
        "mel_hz": np.round(clip.band_hz, 1).tolist(),
        "rate_hz": np.round(rate_GF[part], 2).tolist(),
        "strength": np.round(strength_GF[part], 3).tolist(),
    }


def spectrogram_of(found: dict[str, Any], frame_rate: float, patch: tuple[int, int]) -> Spectrogram:
    """The stretch that `overlay` has written down."""
    return Spectrogram(np.array(found["mel"], float), np.array(found["mel_hz"]), frame_rate, patch)
