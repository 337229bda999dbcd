"""A stem's parameters, kernels, and estimates for clips, as plain arrays for reports.

B clips, T frames, G x F grid of patches, S states, K taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from aasp.features import FrontEnd
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.report.spectrogram import Spectrogram, axis_hz
from aasp.stems.contract import Stem
from aasp.stems.states import States


class Estimates(NamedTuple):
    """A stem's estimates for a batch of clips.

    Attributes:
        alpha: decay per frame, shape (B, G, F, S).
        beta_hz: frequency in Hz, shape (B, G, F, S).
        rate_hz: frequency of each patch's strongest state, shape (B, G, F).
        strength: magnitude of that state relative to the clip's largest, shape (B, G, F).
    """

    alpha: np.ndarray
    beta_hz: np.ndarray
    rate_hz: np.ndarray
    strength: np.ndarray


class Sees(Protocol):
    """Anything with a log-mel and a patch embedding: a model, or a subject of the laboratory."""

    @property
    def frontend(self) -> FrontEnd: ...

    @property
    def stem(self) -> Stem: ...


def listen(model: Sees, waves: Sequence[np.ndarray]) -> tuple[list[Spectrogram], Tensor]:
    """Spectrograms of clips of one length, and the stem's input log-mel (B, T, M), both cut to whole patches."""
    with torch.no_grad():
        mel_BTM = model.frontend(torch.from_numpy(np.stack(waves)))[0]
    mel_BTM = mel_BTM[:, : mel_BTM.shape[1] // model.stem.patch[0] * model.stem.patch[0]]
    band_hz, rate = axis_hz(model.frontend), model.frontend.config.frame_rate
    clips = [Spectrogram(mel, band_hz, rate, model.stem.patch) for mel in mel_BTM.numpy()]
    return clips, mel_BTM


@torch.no_grad()
def estimate(stem: States, mel_BTM: Tensor, frame_rate: float) -> Estimates:
    """Estimated parameters of every patch, and its state with the largest response."""
    alpha, beta = stem.estimate(mel_BTM)
    real, imag = stem.responses(mel_BTM, gain="unit")
    magnitude = torch.hypot(real, imag)
    strength, strongest = magnitude.max(-1)
    hertz = beta * frame_rate / (2 * torch.pi)
    rate = hertz.gather(-1, strongest[..., None])[..., 0]
    share = strength / strength.flatten(1).max(1).values[:, None, None].clamp_min(1e-9)
    return Estimates(alpha.numpy(), hertz.numpy(), rate.numpy(), share.numpy())


@torch.no_grad()
def typical_kernels(stem: States, estimates: Estimates, frame_rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels at each state's median parameters, sorted by frequency.

    Returns:
        Real and imaginary weights, each (S, K), and frequencies in Hz (S,).
    """
    middle = lambda values: torch.from_numpy(np.median(values, axis=(0, 1, 2)))
    alpha, beta_hz = middle(estimates.alpha), middle(estimates.beta_hz)
    order = beta_hz.argsort()
    beta = 2 * torch.pi * beta_hz / frame_rate
    real, imag = stem.kernels(alpha[order], beta[order], gain="unit")
    return real.numpy(), imag.numpy(), beta_hz[order].numpy()


def views(clip: Spectrogram, masking: MaskingConfig) -> np.ndarray:
    """Indices of the visible patches of masked views of a clip, drawn as in training, shape (V, n)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return draw_masks(masking, clip.grid, torch.tensor([clip.grid[0]])).visible[0].numpy()
