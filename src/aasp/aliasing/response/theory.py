"""What the kernels themselves say: the Fourier transform of a stem's taps, to be held against what is measured.

Legend: K frames that a token sees, F subbands, S states, C channels of all tokens of a time patch, P frames of a patch,
h_K taps in the order of time, θ radians per frame, L = α + i β. Source: paper.md 3.2 for the long window; else ours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.response.stimuli import margin_of
from aasp.stems.contract import Stem
from aasp.stems.states import States

LINEAR = 1e-4
"""Largest error of superposition, relative, of a stem that counts as linear."""


def transform(h_KC: np.ndarray, hz: np.ndarray, frame_rate: float) -> np.ndarray:
    """Response H to exp(2π i f t), t = 0 at the middle of the taps, shape (frequencies, C)."""
    taps = len(h_KC)
    seconds = (np.arange(taps) - (taps - 1) / 2) / frame_rate
    return np.tensordot(np.exp(2j * np.pi * np.outer(hz, seconds)), h_KC, 1)


@torch.inference_mode()
def is_linear(stem: Stem) -> bool:
    """Whether deviations add up: that of a sum is the sum of deviations."""
    frames = _window(stem)
    one, other = torch.randn(2, 1, frames, stem.mels, generator=torch.Generator().manual_seed(0))
    rest, a, b, both = stem(torch.cat([torch.zeros_like(one), one, other, one + other]))
    return bool((both - a - b + rest).abs().max() <= LINEAR * (both - rest).abs().max())


@torch.inference_mode()
def impulse_responses(stem: Stem) -> np.ndarray:
    """Taps of a linear stem, from a unit impulse in each frame and subband, shape (subband put in, K, C)."""
    frames, height = _window(stem), stem.patch[1]
    taps = []
    rest = stem(torch.zeros(1, frames, stem.mels))
    for subband in range(stem.subbands):
        impulses = torch.zeros(frames, frames, stem.mels)
        impulses[torch.arange(frames), torch.arange(frames), subband * height : (subband + 1) * height] = 1.0
        tokens = (stem(impulses) - rest).unflatten(1, (-1, stem.subbands))
        taps.append(tokens[:, tokens.shape[1] // 2].flatten(1))
    return torch.stack(taps).double().numpy()


def state_taps(stem: States, alpha_FS: Tensor, beta_FS: Tensor) -> np.ndarray:
    """Taps of every SBLU state for a signal that all bins of its subband share: real and imaginary, (K, F S 2).

    The unit sees the signal less its mean over the patch, which is a kernel too.
    """
    frames = stem.patch[0]
    alpha, beta = alpha_FS.detach().double(), beta_FS.detach().double()
    real, imag = stem.kernels(alpha, beta)
    w_FSK2 = torch.stack([real, imag], dim=-1)
    first = (stem.taps - frames) // 2
    w_FSK2[..., first : first + frames, :] -= w_FSK2.sum(2, keepdim=True) / frames
    return (stem.pickup[:, None, None] * w_FSK2).permute(2, 0, 1, 3).flatten(1).numpy()


def long_window(
    stem: States, alpha_FS: Tensor, beta_FS: Tensor, hz: np.ndarray, frame_rate: float
) -> np.ndarray | None:
    """|H| of every state for K → ∞, (frequencies, F S), where the literature has it: in even phase, with even K.

    H = (4 / L) sinh²(L / 2) cos(θ / 2) / (cosh L - cos θ). It knows nothing of K taps, nor of the mean taken out.
    """
    if stem.phase != "even" or stem.window != "two-sided" or stem.taps % 2:
        return None
    alpha, beta = alpha_FS.detach().double(), beta_FS.detach().double()
    L = torch.complex(alpha, beta).flatten()
    theta = torch.from_numpy(2 * np.pi * np.asarray(hz, dtype=float) / frame_rate)[:, None]
    H = 4 / L * torch.sinh(L / 2).square() * torch.cos(theta / 2) / (torch.cosh(L) - torch.cos(theta))
    share = stem.pickup.abs().expand_as(alpha).flatten()
    if stem.gain == "unit":
        real, imag = stem.kernels(alpha, beta, gain="paper")
        share = share / (real.square() + imag.square()).sum(-1).sqrt().flatten()
    return (share * H.abs()).numpy()


def _window(stem: Stem) -> int:
    """Frames of the shortest clip whose middle token doesn't see its ends."""
    frames = stem.patch[0]
    return (2 * margin_of(stem.receptive_field, frames) + 1) * frames
