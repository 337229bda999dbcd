"""Augmentation of training clips, on the waveform and on the log-mel.

Legend: B clips, S samples, T frames, M mel bins, K classes.
Source: the recipes of EAT and M2D.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.audio.augment import random_gain, random_noise, random_roll
from aasp.config import check_range
from aasp.devices import copied
from aasp.errors import AaspError
from aasp.features.augment import spec_augment
from aasp.model.audio_encoder import AudioEncoder


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training clips; scored clips are not augmented.

    Attributes:
        gain_db: largest random gain, up or down.
        roll_seconds: largest random circular shift in time.
        noise_snr_db: white noise at this signal-to-noise ratio or up to 30 dB above it; None adds none.
        mixup: share of the batches in which the log-mel of every clip is mixed with that of another (EAT).
        mixup_alpha: of the Beta distribution that the mixing weight is drawn from.
        mask: SpecAugment: masks one range of frames and one of mel bins, each up to this share.
        patchout: share of time patches dropped from the encoder's input in each window (PaSST, M2D); this also makes
            steps cheaper.
    """

    gain_db: float = 0.0
    roll_seconds: float = 0.0
    noise_snr_db: float | None = None
    mixup: float = 0.0
    mixup_alpha: float = 0.8
    mask: float = 0.0
    patchout: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("mixup", 1.0), ("mask", 1.0), ("patchout", 0.9)):
            if not 0 <= getattr(self, name) <= most:
                raise AaspError(f"augment: {name} is {getattr(self, name)}; give a share from 0 to {most:g}")
        check_range(self, "augment", "gain_db roll_seconds", least=0)
        check_range(self, "augment", "mixup_alpha")


def augmented(
    encoder: AudioEncoder, config: AugmentConfig, wave_BS: Tensor, lengths_B: Tensor, target_BK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-mel (B, T, M), its valid frames (B,) and targets (B, K) of augmented clips."""
    if config.gain_db:
        wave_BS = random_gain(wave_BS, config.gain_db)
    if config.roll_seconds:
        wave_BS = random_roll(wave_BS, lengths_B, round(config.roll_seconds * encoder.config.frontend.rate))
    if config.noise_snr_db is not None:
        wave_BS = random_noise(wave_BS, lengths_B, config.noise_snr_db)
    mixing = bool(torch.rand(()) < config.mixup)
    mix = Mix.draw(len(wave_BS), config.mixup_alpha) if mixing else None
    mel_BTM, frames_B = encoder.frontend(wave_BS, lengths_B)
    if mix:
        mel_BTM, frames_B, target_BK = mix(mel_BTM), mix.longer(frames_B), mix(target_BK)
    if config.mask:
        mel_BTM = spec_augment(mel_BTM, frames_B, config.mask)
    return mel_BTM, frames_B, target_BK


class Mix:
    """Mixup (Zhang et al. 2018): each clip of a batch is mixed with another one.

    Args:
        weight_B: weight of the clip itself, at least a half, shape (B,).
        partner_B: index of the other clip, shape (B,).
    """

    def __init__(self, weight_B: Tensor, partner_B: Tensor) -> None:
        self.weight_B, self.partner_B = weight_B, partner_B

    @classmethod
    def draw(cls, clips: int, alpha: float) -> Mix:
        """Draw weights from Beta(alpha, alpha), and partners by a permutation."""
        weight_B = torch.distributions.Beta(alpha, alpha).sample((clips,))
        return cls(torch.maximum(weight_B, 1 - weight_B), torch.randperm(clips))

    def __call__(self, values: Tensor) -> Tensor:
        """Mix along the first dimension, shape (B, ...)."""
        weight = copied(self.weight_B, values.device).view(-1, *[1] * (values.ndim - 1))
        return weight * values + (1 - weight) * values[copied(self.partner_B, values.device)]

    def longer(self, lengths_B: Tensor) -> Tensor:
        """Length of each mixed clip, shape (B,)."""
        return torch.maximum(lengths_B, lengths_B[self.partner_B.to(lengths_B.device)])
