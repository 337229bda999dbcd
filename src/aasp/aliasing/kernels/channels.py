"""Which modulations a stem's channels respond to: their temporal kernels.

A token's kernel is its linear response to a small change of the spectrogram around it:

    J[d, t, m] = d token[d] / d mel[t, m],   power[d](f) = sum over m of |sum over t of J[d, t, m] exp(-2 pi i f t)|^2

For a convolution J is its weights, for any clip; for a stem that adapts to the sound, J is its kernel for that sound.

Legend: T frames that a token sees, M mel bins, F subbands, D channels, R modulation rates. Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.kernels.estimates import over_clips
from aasp.stems.contract import Stem

RATES = 101
"""Number of modulation rates from 0 to half the frame rate at which kernels are evaluated."""
PEAK_BINS = 25
"""Bins of the histogram of peak rates, over the same range."""
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Kernels:
    """The linearised kernels of one time patch, (F, D, T, M), and their power, (F, D, R), at rates in Hz, (R,)."""

    jacobian: np.ndarray
    hertz: np.ndarray
    power: np.ndarray

    @property
    def peak_hz(self) -> np.ndarray:
        """The rate of each channel's largest response, (F, D)."""
        return self.hertz[self.power.argmax(-1)]

    @property
    def shares(self) -> np.ndarray:
        """Each channel's power as shares of its total, (F, D, R)."""
        return self.power / self.power.sum(-1, keepdims=True).clip(1e-30)

    def beyond(self, hertz: float) -> float:
        """Share of the kernels' power above a given rate, with equal weight for each channel."""
        return float((self.power[..., self.hertz > hertz].sum(-1) / self.power.sum(-1).clip(1e-30)).mean())


def linearised(stem: Stem, mel_TM: Tensor, frame_rate: float) -> Kernels:
    """Linearise a stem around the loudest time patch of a clip's normalised log-mel, which has whole patches only."""
    frames = stem.patch[0]
    side = -(-(stem.receptive_field - frames) // (2 * frames))  # patches that a token sees on either side of its own
    loudest = int(mel_TM.unflatten(0, (-1, frames)).mean((1, 2)).argmax())
    around = torch.nn.functional.pad(mel_TM, (0, 0, side * frames, side * frames))
    around = around[loudest * frames : (loudest + 2 * side + 1) * frames]
    # One copy of the input per channel, so that a single backward pass gives the gradients of all channels.
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


def describe(found: Sequence[Kernels], low_hz: float, adapts: bool) -> dict[str, Any]:
    """The distribution of peak rates, and the share of the power around each clip above a rate, for JSON.

    Args:
        found: of each clip.
        low_hz: the rate.
        adapts: whether the kernels depend on the sound.
    """
    first, peaks = found[0], [kernels.peak_hz for kernels in found]
    shares = np.concatenate([kernels.shares.reshape(-1, RATES) for kernels in found])
    histograms = [np.histogram(peak, PEAK_BINS, (0, first.hertz[-1]))[0] / peak.size for peak in peaks]
    return {
        "clips": len(found),
        "channels": int(first.peak_hz.size),
        "hertz": first.hertz.tolist(),
        "power": np.quantile(shares, QUANTILES, axis=0).tolist(),
        "peaks": np.mean(histograms, axis=0).tolist(),
        "beyond": over_clips([kernels.beyond(low_hz) for kernels in found]),
        "peaks beyond": over_clips([float((peak > low_hz).mean()) for peak in peaks]),
        "adapts": adapts,
    }
