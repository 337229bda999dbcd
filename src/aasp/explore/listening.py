"""A row of an index as audio for a browser: decoded to mono and encoded again; original files are not served."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from aasp.audio.sounds import read_sound
from aasp.index import Index

PREVIEW_RATE, FULL_RATE = 16_000, 32_000


def preview(index: Index, row: int, seconds: float) -> bytes:
    """The beginning of a row as a small MP3, 16 kHz, some 4 kB a second.

    Raises:
        AaspError: its sound can't be read.
    """
    return _encoded(index, row, PREVIEW_RATE, seconds, "MP3")


def whole(index: Index, row: int, seconds: float) -> bytes:
    """A row, or its first `seconds`, as a 16-bit WAV at 32 kHz.

    Raises:
        AaspError: its sound can't be read.
    """
    return _encoded(index, row, FULL_RATE, seconds, "WAV")


def _encoded(index: Index, row: int, rate: int, seconds: float, kind: str) -> bytes:
    wave = read_sound(index.recording(row), rate=rate, seconds=seconds)
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), rate, format=kind)
    return file.getvalue()
