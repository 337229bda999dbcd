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
        decibels: largest gain and largest attenuation.
    """
    gain = (2 * torch.rand(len(wave_BS), 1, device=wave_BS.device) - 1) * decibels
    return wave_BS * 10 ** (gain / 20)


def random_roll(wave_BS: Tensor, lengths_B: Tensor, samples: int) -> Tensor:
    """Shift each clip circularly in time by up to `samples` either way.

    Args:
        wave_BS: waveforms, shape (B, S), zero beyond each clip's end.
        lengths_B: valid samples of each clip, shape (B,): the shift is circular within them.
        samples: largest shift.

    Source: EAT's fine-tuning rolls waveforms.
    """
    lengths_B1 = lengths_B.to(wave_BS.device)[:, None]
    shift_B1 = torch.randint(-samples, samples + 1, (len(wave_BS), 1), device=wave_BS.device)
    place_BS = torch.arange(wave_BS.shape[1], device=wave_BS.device).expand_as(wave_BS)
    source_BS = torch.where(place_BS < lengths_B1, (place_BS - shift_B1) % lengths_B1, place_BS)
    return wave_BS.gather(1, source_BS)


def random_noise(wave_BS: Tensor, lengths_B: Tensor, snr_db: float) -> Tensor:
    """Add white noise to each clip, at a signal-to-noise ratio drawn uniformly from `snr_db` to `snr_db` + 30 dB.

    Args:
        wave_BS: waveforms, shape (B, S), zero beyond each clip's end.
        lengths_B: valid samples of each clip, shape (B,); beyond them nothing is added.
        snr_db: the lowest ratio.
    """
    lengths_B1 = lengths_B.to(wave_BS.device)[:, None]
    power_B1 = wave_BS.square().sum(1, keepdim=True) / lengths_B1
    snr_B1 = snr_db + 30 * torch.rand(len(wave_BS), 1, device=wave_BS.device)
    noise_BS = torch.randn_like(wave_BS) * (power_B1 / 10 ** (snr_B1 / 10)).sqrt()
    valid_BS = torch.arange(wave_BS.shape[1], device=wave_BS.device) < lengths_B1
    return wave_BS + noise_BS * valid_BS
