"""The temporal kernels of any stem: what a token does when the spectrogram around it changes a little.

Legend: T frames of a token's sight, M mel bins, F subbands, D channels, R modulation rates.

    J[d, t, m] = d token[d] / d mel[t, m],   power[d](f) = sum over m of |sum over t of J[d, t, m] exp(-2 pi i f t)|^2

For a convolution J is its weights, whatever the clip; where a stem adapts to the sound, J is its kernel for that sound.
Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.stems.contract import Stem

RATES = 101
"""Modulation rates from 0 to half the frame rate at which kernels are read."""


@dataclass(frozen=True)
class Kernels:
    """The linearised kernels of one time patch.

    Attributes:
        jacobian: shape (F, D, T, M).
        hertz: the rates, shape (R,).
        power: shape (F, D, R).
    """

    jacobian: np.ndarray
    hertz: np.ndarray
    power: np.ndarray

    @property
    def peak_hz(self) -> np.ndarray:
        """The rate at which each channel responds most, (F, D)."""
        return self.hertz[self.power.argmax(-1)]

    def beyond(self, hertz: float) -> float:
        """Share of the kernels' power at rates above one, each channel weighing alike."""
        return float((self.power[..., self.hertz > hertz].sum(-1) / self.power.sum(-1).clip(1e-30)).mean())

    def profile(self, subband: int, channel: int) -> np.ndarray:
        """A kernel's course over time: its first singular vector there, largest value positive, shape (T,)."""
        u, s, _ = np.linalg.svd(self.jacobian[subband, channel])
        course = u[:, 0] * s[0]
        return course * np.sign(course[np.abs(course).argmax()])


def linearised(stem: Stem, mel_TM: Tensor, frame_rate: float) -> Kernels:
    """Linearise a stem around the loudest time patch of a clip.

    Args:
        stem: any.
        mel_TM: normalised log-mel of whole patches, shape (T, M).
        frame_rate: frames per second.
    """
    frames = stem.patch[0]
    side = -(-(stem.receptive_field - frames) // (2 * frames))  # patches that a token sees to either side of its own
    loudest = int(mel_TM.unflatten(0, (-1, frames)).mean((1, 2)).argmax())
    around = torch.nn.functional.pad(mel_TM, (0, 0, side * frames, side * frames))
    around = around[loudest * frames : (loudest + 2 * side + 1) * frames]
    # A copy of the input for each channel: one backward pass then gives the gradients of all of them.
    copies = around.expand(stem.width, -1, -1).clone().requires_grad_()
    with torch.enable_grad():
        tokens_FDD = stem(copies).unflatten(1, (-1, stem.subbands))[:, side].transpose(0, 1)
        rows = [
            torch.autograd.grad(token.diagonal().sum(), copies, retain_graph=True)[0].numpy() for token in tokens_FDD
        ]
    jacobian = np.stack(rows)
    step = -(-jacobian.shape[2] // (2 * RATES - 2))  # a transform at least as long as the kernel
    spectrum = np.fft.rfft(jacobian, n=step * (2 * RATES - 2), axis=2)[:, :, ::step]
    return Kernels(jacobian, np.linspace(0, frame_rate / 2, RATES), np.square(np.abs(spectrum)).sum(-1))
