"""How much a sound was changed: the energy of the change of its log-mel, and modulations brought to a stated one.

The log-mel is Kaldi's, of natural-log power, not normalised. With d = perturbed - clean over frames and mels,

    E = (sum of d² over all of them) / (number of those that are above the floor in the clean clip)

so that digital silence, which no gain can move, does not dilute a change, and a sound moved into silence counts. It is
told as rms decibels of power, 10 / ln 10 · √E.

A gain exp(A/2 · cos(2π f t + φ)) moves log power by A cos(..): E is A²/2 while f is slow, less when the analysis window
of 25 ms smears the modulation (3.5 dB at 40 Hz). A smeared modulation also raises the mean level, which is no
modulation; a constant gain takes it back. Both A and that gain are set for every clip by measuring.

Legend: B clips, S samples, T frames, M mel bins. Source: ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aasp.features.logmel import LogMel, LogMelConfig

FRONTEND = LogMelConfig.kaldi(mean=0.0, std=1.0)
DECIBEL = 10 / math.log(10)
"""Decibels of power in a unit of natural-log power."""
TOLERANCE = 0.005
STEPS = 40
DEEPEST = 60.0
"""Of A: clips that hardly anything is heard of would have it grow without end."""

_log_mel = LogMel(FRONTEND)


def log_power(wave_BS: Tensor) -> Tensor:
    """Log-mel of natural-log power, shape (B, T, M)."""
    return _log_mel(wave_BS)[0]


def energy(clean_BTM: Tensor, moved_BTM: Tensor) -> Tensor:
    """E of each clip, shape (B,)."""
    return (moved_BTM - clean_BTM).square().sum((1, 2)) / audible(clean_BTM).sum((1, 2)).clamp_min(1)


def audible(clean_BTM: Tensor) -> Tensor:
    """What lies above the floor, shape (B, T, M)."""
    return clean_BTM > math.log(FRONTEND.floor) + 1e-4


def to_decibel(energy_B: Tensor) -> Tensor:
    """Energies as rms decibels."""
    return DECIBEL * energy_B.sqrt()


def modulated(clean_BS: Tensor, pattern_BS: Tensor, decibel: float) -> Tensor:
    """Clips with the gain exp(A/2 · pattern - level/2), A and level such that the log-mel changes by `decibel` rms.

    Args:
        clean_BS: the clips.
        pattern_BS: how the log power is to move, up to a factor and a constant.
        decibel: the wanted change.

    Returns:
        Shape (B, S); the change is within TOLERANCE of E, unless STEPS don't get there (a clip at the floor): whoever
        calls measures what came out.
    """
    wanted = (decibel / DECIBEL) ** 2
    mel_BTM = log_power(clean_BS)
    heard_BTM = audible(mel_BTM)
    bins_B = heard_BTM.sum((1, 2)).clamp_min(1)
    A_B = (wanted / pattern_BS.var(1, correction=0)).sqrt()
    level_B = torch.zeros_like(A_B)
    made_BS = torch.empty_like(clean_BS)
    left = torch.arange(len(clean_BS))
    for _ in range(STEPS):
        swing = 0.5 * (A_B[left, None] * pattern_BS[left] - level_B[left, None])
        made_BS[left] = clean_BS[left] * swing.exp()
        moved = log_power(made_BS[left]) - mel_BTM[left]
        found = moved.square().sum((1, 2)) / bins_B[left]
        offset = (moved * heard_BTM[left]).sum((1, 2)) / bins_B[left]
        off = ((found / wanted - 1).abs() > TOLERANCE) | (offset.square() > TOLERANCE * wanted)
        # What is left of E without the offset is nearly proportional to A².
        factor = (wanted / (found - offset.square()).clamp_min(1e-3 * wanted)).sqrt()
        A_B[left] = (A_B[left] * factor).clamp_max(DEEPEST)
        level_B[left] += offset
        if not off.any():
            break
        left = left[off]
    return made_BS
