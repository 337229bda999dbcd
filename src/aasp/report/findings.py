"""What reports show of a stem, as plain arrays: its parameters, its kernels, and what it finds in clips.

B clips, T frames, G x F grid of patches, S states, K taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from aasp.features.logmel import LogMel, LogMelConfig
from aasp.pretrain.views import MaskingConfig, draw_masks
from aasp.report.spectrogram import Spectrogram
from aasp.stems.aape import AaPE
from aasp.stems.contract import Stem
from aasp.stems.sblu import bilateral_laplace, kernel


@dataclass(frozen=True)
class Estimates:
    """What a stem estimated for a batch of clips.

    Attributes:
        alpha: decay per frame, shape (B, G, F, S).
        beta_hz: frequency in Hz, shape (B, G, F, S).
        rate_hz: frequency of each patch's strongest state, shape (B, G, F).
        strength: magnitude of that state, over the largest of the clip, shape (B, G, F).
    """

    alpha: np.ndarray
    beta_hz: np.ndarray
    rate_hz: np.ndarray
    strength: np.ndarray


class Sees(Protocol):
    """What has a log-mel and a patch embedding: a model, a subject of the laboratory."""

    @property
    def frontend(self) -> LogMel: ...

    @property
    def stem(self) -> Stem: ...


def listen(model: Sees, waves: Sequence[np.ndarray]) -> tuple[list[Spectrogram], Tensor]:
    """Spectrograms of clips of one length, and the log-mel (B, T, M) that the stem gets, both of whole patches."""
    with torch.no_grad():
        mel_BTM = model.frontend(torch.from_numpy(np.stack(waves)))[0]
    mel_BTM = mel_BTM[:, : mel_BTM.shape[1] // model.stem.patch[0] * model.stem.patch[0]]
    front, (frames, bins) = model.frontend.config, model.stem.patch
    hertz = band_centres(front)
    return [Spectrogram(mel, hertz, front.frame_rate, (frames, bins)) for mel in mel_BTM.numpy()], mel_BTM


@torch.no_grad()
def estimate(stem: AaPE, mel_BTM: Tensor, frame_rate: float) -> Estimates:
    """Estimated parameters of every patch, and which of its states answers strongest."""
    c = stem.config
    alpha, beta = stem.estimate(mel_BTM)
    windows = stem.windows(stem.cut(mel_BTM))
    real, imag = bilateral_laplace(windows, alpha, beta, phase=c.phase, window=c.window, gain="unit")
    magnitude = torch.hypot(real, imag)
    strength, strongest = magnitude.max(-1)
    hertz = beta * frame_rate / (2 * torch.pi)
    rate = hertz.gather(-1, strongest[..., None])[..., 0]
    share = strength / strength.flatten(1).max(1).values[:, None, None].clamp_min(1e-9)
    return Estimates(alpha.numpy(), hertz.numpy(), rate.numpy(), share.numpy())


@torch.no_grad()
def typical_kernels(stem: AaPE, estimates: Estimates, frame_rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels at each state's median parameters, states in order of frequency.

    Returns:
        Real and imaginary weights, each (S, K), and frequencies in Hz (S,).
    """
    c = stem.config
    middle = lambda values: torch.from_numpy(np.median(values, axis=(0, 1, 2)))
    alpha, beta_hz = middle(estimates.alpha), middle(estimates.beta_hz)
    order = beta_hz.argsort()
    beta = 2 * torch.pi * beta_hz / frame_rate
    real, imag = kernel(alpha[order], beta[order], c.taps, phase=c.phase, window=c.window, gain="unit")
    return real.numpy(), imag.numpy(), beta_hz[order].numpy()


def views(clip: Spectrogram, masking: MaskingConfig, *, seed: int = 0) -> np.ndarray:
    """Indices of the visible patches of masked views of a clip, drawn as in training, shape (V, n)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return draw_masks(masking, clip.grid, torch.tensor([clip.grid[0]])).visible[0].numpy()


def band_centres(front: LogMelConfig) -> np.ndarray:
    """Centre frequency of each mel bin in Hz, shape (M,)."""
    low, high = (1127 * np.log1p(hertz / 700) for hertz in (front.low_hz, front.high_hz))
    return 700 * np.expm1(np.linspace(low, high, front.mels + 2)[1:-1] / 1127)
