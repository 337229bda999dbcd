"""What training changes in a clip, from its samples to the patches that the encoder sees.

Legend: B clips, S samples, T frames, M mel bins, K classes, G x F grid of patches, N = G * F; W windows of p time
patches, g of them seen, of P frames each; D width.
Source: the recipes of EAT and M2D; patchout as in PaSST (Koutini et al. 2022), of whole time patches; within windows:
ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from aasp.audio.augment import random_gain, random_noise, random_roll
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.features.augment import spec_augment
from aasp.model.audio_encoder import AudioEncoder
from aasp.stems.contract import take


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to a clip while training; nothing of it is done to a clip that is scored.

    Attributes:
        gain_db: louder or softer by up to this much.
        roll_seconds: turned in time by up to this much.
        noise_snr_db: white noise at this signal-to-noise ratio or up to 30 dB above it; None adds none.
        mixup: share of the batches in which the log-mel of every clip is mixed with that of another (EAT).
        mixup_alpha: of the Beta distribution that the mixing weight is drawn from.
        mask: SpecAugment: one stretch of frames and one of mel bins, each up to this share.
        patchout: share of the time patches that the encoder does not see (PaSST, M2D), in each of its windows; also
            what makes a step cheaper.
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
    """Mixup (Zhang et al. 2018): each clip of a batch with another one.

    Args:
        weight_B: share of the clip itself, at least a half, shape (B,).
        partner_B: the other clip, shape (B,).
    """

    def __init__(self, weight_B: Tensor, partner_B: Tensor) -> None:
        self.weight_B, self.partner_B = weight_B, partner_B

    @classmethod
    def draw(cls, clips: int, alpha: float) -> Mix:
        """Weights from Beta(alpha, alpha), partners by a permutation."""
        weight_B = torch.distributions.Beta(alpha, alpha).sample((clips,))
        return cls(torch.maximum(weight_B, 1 - weight_B), torch.randperm(clips))

    def __call__(self, values: Tensor) -> Tensor:
        """Mix along the first dimension, shape (B, ...)."""
        weight = self.weight_B.to(values.device).view(-1, *[1] * (values.ndim - 1))
        return weight * values + (1 - weight) * values[self.partner_B.to(values.device)]

    def longer(self, lengths_B: Tensor) -> Tensor:
        """Length of each mixed clip, shape (B,)."""
        return torch.maximum(lengths_B, lengths_B[self.partner_B.to(lengths_B.device)])


def embed_part(
    encoder: AudioEncoder, mel_BTM: Tensor, frames_B: Tensor, patchout: float, layers: bool
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Encode clips, or random time patches of each, at their true positions.

    A clip longer than the encoder's window is cut in windows side by side, each encoded by itself as in pre-training;
    each of them loses the same share of its time patches.

    Args:
        encoder: the model.
        mel_BTM: normalised log-mel, shape (B, T, M).
        frames_B: valid frames of each clip, shape (B,).
        patchout: share of the time patches that are left out, the padding first; one at least is seen.
        layers: return every layer, not only the last.

    Returns:
        As `Embeddings`: the stages, class tokens averaged over windows by duration, and which of the time patches that
        were seen belong to the clip, shape (B, W * g).
    """
    stem, device = encoder.stem, mel_BTM.device
    patch, subbands = stem.patch[0], stem.subbands
    columns, _ = stem.grid(mel_BTM.shape[1])
    window = min(columns, encoder.config.window_patches)
    mel_BTM = functional.pad(mel_BTM, (0, 0, 0, -(-columns // window) * window * patch - mel_BTM.shape[1]))
    valid_BN = stem.valid_patches(frames_B, mel_BTM.shape[1]).to(device)
    valid_BWp = valid_BN[:, ::subbands].unflatten(1, (-1, window))
    seen = max(1, round(window * (1 - patchout)))
    chosen_BWg = (torch.rand(valid_BWp.shape, device=device) + valid_BWp).topk(seen, dim=2).indices.sort(dim=2).values
    valid_BWg = valid_BWp.gather(2, chosen_BWg)
    within_BWn = (chosen_BWg[..., None] * subbands + torch.arange(subbands, device=device)).flatten(2)
    first_W1 = torch.arange(valid_BWp.shape[1], device=device)[:, None] * window
    if stem.receptive_field <= patch:  # a stem that sees its own patch only need not see the others
        frames = mel_BTM.unflatten(1, (-1, patch))
        tokens = stem(take(frames, chosen_BWg + first_W1).flatten(0, 1).flatten(1, 2), None)
    else:
        tokens = stem.views(mel_BTM, within_BWn + first_W1 * subbands, valid_BN).flatten(0, 1)
    tokens = tokens + encoder.positions(window * patch, device)[within_BWn.flatten(0, 1)]
    counted = valid_BWg.flatten(0, 1).repeat_interleave(subbands, dim=1)
    full = bool((-(-frames_B // patch) == valid_BWp.shape[1] * window).all())  # on the host: no synchronisation
    stages = encoder.encode_tokens(tokens, None if full else counted, layers)
    share_BW1 = (valid_BWg.sum(2) / valid_BWg.sum((1, 2))[:, None])[..., None]
    apart = valid_BWg.shape[:2]
    joined = [
        (tokens.unflatten(0, apart).flatten(1, 2), (cls.unflatten(0, apart) * share_BW1).sum(1))
        for tokens, cls in [*stages[:-2], stages[-1]]  # the last block's output is read normalised
    ]
    return joined, valid_BWg.flatten(1)
