"""Augmentation of log-mel spectrograms.

Legend: B clips, T frames, M mel bins. Masked bins are set to zero, the mean of a normalised log-mel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aasp.devices import copied


def spec_augment(mel_BTM: Tensor, frames_B: Tensor, share: float) -> Tensor:
    """Mask one span of frames and one of mel bins of each clip, each at most `share` of its valid extent long.

    Args:
        mel_BTM: normalised log-mel, shape (B, T, M).
        frames_B: valid frames of each clip, shape (B,).
        share: largest masked share, in 0 to 1.

    Source: SpecAugment (Park et al. 2019), with relative lengths as in EAT.
    """
    frames_B = copied(frames_B, mel_BTM.device)
    bins_B = torch.full_like(frames_B, mel_BTM.shape[2])
    keep_BT = ~_stretch(frames_B, mel_BTM.shape[1], share)
    keep_BM = ~_stretch(bins_B, mel_BTM.shape[2], share)
    return mel_BTM * (keep_BT[:, :, None] & keep_BM[:, None, :])


def _stretch(extent_B: Tensor, places: int, share: float) -> Tensor:
    """A random span within each extent, boolean, shape (B, places)."""
    length_B, start_B = torch.rand(2, extent_B.shape[0], device=extent_B.device)
    length_B = (length_B * ((share * extent_B).floor() + 1)).floor()
    start_B = (start_B * (extent_B - length_B + 1)).floor()
    place_P = torch.arange(places, device=extent_B.device)
    return (place_P >= start_B[:, None]) & (place_P < (start_B + length_B)[:, None])


def mix_power(mel_BTM: Tensor, other_BTM: Tensor, share_BTM: Tensor) -> Tensor:
    """Mix another spectrogram into each in the power domain: log((1 - share) exp(mel) + share exp(other)).

    Args:
        mel_BTM: normalised log-mel, shape (B, T, M).
        other_BTM: the log-mels to mix in, of the same shape.
        share_BTM: their share, in 0 to 1, in a shape that broadcasts to theirs.

    Source: BYOL-A's mixup (Niizumi et al. 2021), applied to normalised log-mels.
    """
    return torch.logaddexp(torch.log1p(-share_BTM) + mel_BTM, torch.log(share_BTM) + other_BTM)


def resized_crop(mel_BTM: Tensor, extent_B: Tensor, virtual: float, least: float, most: float, dim: int = 1) -> Tensor:
    """Crop each clip at random along one axis and resize the crop to the clip's own length by bicubic interpolation.

    The crop is taken from a virtual extent `virtual` times as long as the clip, which is zero-padded on both sides.

    Args:
        mel_BTM: normalised log-mel, shape (B, T, M).
        extent_B: valid length of each clip along the axis, shape (B,); beyond it the result is zero.
        virtual: length of the virtual extent, relative to the clip's.
        least, most: bounds of the crop's length, relative to the clip's; it is at most the virtual extent.
        dim: the axis: 1, frames, or 2, mel bins.

    Source: random resized crop of BYOL-A (Niizumi et al. 2021): lengths are integers, corners are aligned.
    """
    x_BLK = mel_BTM if dim == 1 else mel_BTM.transpose(1, 2).contiguous()  # so that contiguous rows are gathered
    extent_B1 = copied(extent_B, mel_BTM.device)[:, None].to(mel_BTM.dtype)
    size, place = torch.rand(2, len(x_BLK), 1, device=mel_BTM.device)
    whole_B1 = (virtual * extent_B1).floor()
    size_B1 = ((least + (most - least) * size) * extent_B1).floor().clamp(min=1).minimum(whole_B1)
    first_B1 = (place * (whole_B1 - size_B1 + 1)).floor() - ((whole_B1 - extent_B1) / 2).floor()
    out_L = torch.arange(x_BLK.shape[1], device=mel_BTM.device, dtype=mel_BTM.dtype)
    position_BL = out_L * (size_B1 - 1) / (extent_B1 - 1).clamp(min=1)
    offset_4 = torch.arange(-1, 3, device=mel_BTM.device)
    tap_BL4 = position_BL.floor()[..., None] + offset_4
    weight_BL4 = _cubic(position_BL[..., None] - tap_BL4)
    tap_BL4 = tap_BL4.clamp(min=0).minimum(size_B1[..., None] - 1) + first_B1[..., None]
    inside = (tap_BL4 >= 0) & (tap_BL4 < extent_B1[..., None]) & (out_L < extent_B1)[..., None]
    index_BL4 = tap_BL4.clamp(0, x_BLK.shape[1] - 1).long()
    clip = torch.arange(len(x_BLK), device=mel_BTM.device)[:, None]
    weight_BL4 = weight_BL4 * inside
    resized = torch.zeros_like(x_BLK)
    for tap in range(4):
        resized.addcmul_(x_BLK[clip, index_BL4[..., tap]], weight_BL4[..., tap, None])
    return resized if dim == 1 else resized.transpose(1, 2)


def _cubic(distance: Tensor, a: float = -0.75) -> Tensor:
    """The kernel of cubic convolution (Keys 1981), with the constant that image libraries use."""
    d = distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
