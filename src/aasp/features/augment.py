"""Augmentation of log-mel spectrograms.

Legend: B clips, T frames, M mel bins. Zero is the mean of a normalised log-mel: masked cells hold it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def spec_augment(mel_BTM: Tensor, frames_B: Tensor, share: float) -> Tensor:
    """Mask one stretch of frames and one of mel bins of each clip, each up to `share` of its valid extent long.

    Args:
        mel_BTM: normalised log-mel, shape (B, T, M).
        frames_B: valid frames of each clip, shape (B,).
        share: largest masked share, of 1.

    Source: SpecAugment (Park et al. 2019), with EAT's lengths by share.
    """
    frames_B = frames_B.to(mel_BTM.device)
    bins_B = torch.full_like(frames_B, mel_BTM.shape[2])
    keep_BT = ~_stretch(frames_B, mel_BTM.shape[1], share)
    keep_BM = ~_stretch(bins_B, mel_BTM.shape[2], share)
    return mel_BTM * (keep_BT[:, :, None] & keep_BM[:, None, :])


def _stretch(extent_B: Tensor, places: int, share: float) -> Tensor:
    """A random stretch within each extent, boolean, shape (B, places)."""
    length_B, start_B = torch.rand(2, extent_B.shape[0], device=extent_B.device)
    length_B = (length_B * ((share * extent_B).floor() + 1)).floor()
    start_B = (start_B * (extent_B - length_B + 1)).floor()
    place_P = torch.arange(places, device=extent_B.device)
    return (place_P >= start_B[:, None]) & (place_P < (start_B + length_B)[:, None])
