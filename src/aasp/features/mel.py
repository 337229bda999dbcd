"""Mel scales: Kaldi's and HTK's, and Slaney's.

Legend: M mel bins.
Source: mel = 1127 ln(1 + f / 700), as in Kaldi and HTK; Slaney's scale as in the Auditory Toolbox (1998) and librosa.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Values = TypeVar("Values", float, np.ndarray, Tensor)


def hz_to_mel(hertz: Values) -> Values:
    """Frequencies in Hz as mel; a number, an array or a tensor.

    Each is computed by its own library (math, numpy, torch), since the last bits of their logarithms differ.
    """
    log1p: Any = torch.log1p if isinstance(hertz, Tensor) else np.log1p if isinstance(hertz, np.ndarray) else math.log1p
    return 1127 * log1p(hertz / 700)  # type: ignore[no-any-return]


def mel_to_hz(mel: Values) -> Values:
    """The inverse of `hz_to_mel`, likewise of a number, an array or a tensor."""
    expm1: Any = torch.expm1 if isinstance(mel, Tensor) else np.expm1 if isinstance(mel, np.ndarray) else math.expm1
    return 700 * expm1(mel / 1127)  # type: ignore[no-any-return]


def mel_edges(low_hz: float, high_hz: float, bins: int) -> np.ndarray:
    """Edges of M mel bins in Hz, uniform on the mel scale; bin m is from edge m to edge m + 2; shape (M + 2,)."""
    low, high = hz_to_mel(np.array([low_hz, high_hz]))
    return mel_to_hz(np.linspace(low, high, bins + 2))


def slaney_edges(low_hz: float, high_hz: float, bins: int) -> np.ndarray:
    """Edges as of `mel_edges`, uniform on Slaney's scale: linear up to 1 kHz, logarithmic above; shape (M + 2,)."""
    step = np.log(6.4) / 27
    to_mel = lambda hertz: 15 + np.log(hertz / 1000) / step if hertz >= 1000 else hertz * 3 / 200
    mel = np.linspace(to_mel(low_hz), to_mel(high_hz), bins + 2)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
