"""Augmentation of waveforms.

Legend: B clips, S samples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_gain(wave_BS: Tensor, decibels: float) -> Tensor:
    """Scale each clip by a gain drawn uniformly from -decibels to +decibels.

    Args:
        wave_BS: waveforms, shape (B, S).
        decibels: largest gain and largest loss.
    """
    gain = (2 * torch.rand(len(wave_BS), 1, device=wave_BS.device) - 1) * decibels
    return wave_BS * 10 ** (gain / 20)
