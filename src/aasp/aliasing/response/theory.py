"""Responses expected from the kernels: the Fourier transform of a stem's taps, for comparison with the measured ones.

Legend: K frames that a token sees, F subbands, S states, C channels of all tokens of a time patch, R modulations, h_K
taps in time order. Source: ours.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.response.stimuli import PHASES, Modulations, margin_of
from aasp.encoders import LogMelAdapter
from aasp.stems.contract import Stem
from aasp.stems.states import States

LINEAR = 1e-4
"""Largest relative superposition error of a stem that counts as linear."""


def expected(adapter: LogMelAdapter, stage: str, stimuli: Modulations, gain_RC: np.ndarray) -> dict[str, Any]:
    """The expected response of a "stem" or its "states" to modulations, as JSON values beside the measured gain."""
    stem, hz, rate = adapter.stem, stimuli.hz, adapter.frontend.config.frame_rate
    if stage == "states" and stem.states is not None:
        return _of_states(stem.states, stimuli, gain_RC, rate)
    if not is_linear(stem):
        return {"linear": False, "theory": None}
    H_RC = np.stack([transform(taps, hz, rate) for taps in impulse_responses(stem)]).sum(0)
    return {"linear": True, "theory": np.sqrt(np.square(np.abs(H_RC)).mean(1)).tolist()}


def _of_states(stem: States, stimuli: Modulations, gain_RC: np.ndarray, rate: float) -> dict[str, Any]:
    """For each state, with the mean decay and frequency that are estimated for this modulation."""
    inner = slice(stimuli.margin, stimuli.margin + stimuli.tokens)
    pairs = lambda x: np.sqrt(np.square(np.abs(x)).reshape(-1, stem.subbands, stem.count, 2).sum(-1))
    H_RC, betas = [], []
    for f in stimuli.hz:
        alpha, beta = (x[:, inner].mean((0, 1)) for x in stem.estimate(stimuli.make(f, PHASES)))
        H_RC.append(transform(state_taps(stem, alpha, beta), np.array([f]), rate)[0])
        betas.append(beta * rate / (2 * math.pi))
    theory, middle = pairs(np.stack(H_RC)), stem.subbands // 2
    return {
        "linear": stem.trained != "estimated",
        "theory": [float(np.sqrt(np.square(x).sum() / (2 * x.size))) for x in theory],
        "states": {
            "subband": middle,
            "beta_hz": torch.stack(betas).mean(0)[middle].tolist(),
            "measured": pairs(gain_RC)[:, middle].tolist(),
            "theory": theory[:, middle].tolist(),
        },
    }


def transform(h_KC: np.ndarray, hz: np.ndarray, frame_rate: float) -> np.ndarray:
    """Response H to exp(2π i f t), t = 0 at the middle of the taps, shape (frequencies, C)."""
    taps = len(h_KC)
    seconds = (np.arange(taps) - (taps - 1) / 2) / frame_rate
    return np.tensordot(np.exp(2j * np.pi * np.outer(hz, seconds)), h_KC, 1)


@torch.inference_mode()
def is_linear(stem: Stem) -> bool:
    """Whether superposition holds: the deviation of a sum is the sum of deviations."""
    frames = _window(stem)
    one, other = torch.randn(2, 1, frames, stem.mels, generator=torch.Generator().manual_seed(0))
    rest, a, b, both = stem(torch.cat([torch.zeros_like(one), one, other, one + other]))
    return bool((both - a - b + rest).abs().max() <= LINEAR * (both - rest).abs().max())


@torch.inference_mode()
def impulse_responses(stem: Stem) -> np.ndarray:
    """Taps of a linear stem, from a unit impulse in each frame and subband, shape (input subband, K, C).

    Bins above the last subband, which only some kernels of overlapping patches read, belong to it.
    """
    frames, height = _window(stem), stem.patch[1]
    taps = []
    rest = stem(torch.zeros(1, frames, stem.mels))
    for subband in range(stem.subbands):
        last = stem.mels if subband == stem.subbands - 1 else (subband + 1) * height
        impulses = torch.zeros(frames, frames, stem.mels)
        impulses[torch.arange(frames), torch.arange(frames), subband * height : last] = 1.0
        tokens = (stem(impulses) - rest).unflatten(1, (-1, stem.subbands))
        taps.append(tokens[:, tokens.shape[1] // 2].flatten(1))
    return torch.stack(taps).double().numpy()


def state_taps(stem: States, alpha_FS: Tensor, beta_FS: Tensor) -> np.ndarray:
    """Taps of every SBLU state for a signal that is equal in all bins of its subband: real and imaginary, (K, F S 2).

    The unit's input is the signal minus its mean over the patch, which is a kernel too.
    """
    frames = stem.patch[0]
    alpha, beta = alpha_FS.detach().double(), beta_FS.detach().double()
    real, imag = stem.kernels(alpha, beta)
    w_FSK2 = torch.stack([real, imag], dim=-1)
    first = (stem.taps - frames) // 2
    w_FSK2[..., first : first + frames, :] -= w_FSK2.sum(2, keepdim=True) / frames
    return (stem.pickup[:, None, None] * w_FSK2).permute(2, 0, 1, 3).flatten(1).numpy()


def _window(stem: Stem) -> int:
    """Frames of the shortest clip whose middle token does not see its ends."""
    frames = stem.patch[0]
    return (2 * margin_of(stem.receptive_field, frames) + 1) * frames
