"""Limits of sampling rates and of samples, and the full scale of 16-bit samples: for files, arrays and tensors."""

from __future__ import annotations

MIN_RATE, MAX_RATE = 100, 10_000_000
"""Sampling rates in Hz; one outside is a mistake: a wrong header or argument."""
MAX_PEAK = 100.0
"""Largest accepted peak of samples in -1 to 1 (ours): 40 dB above full scale, 50 dB below that of 16-bit integers."""
FULL_SCALE = 32768.0
"""Full scale of 16-bit samples."""
