"""Which modulations channels respond to: the temporal kernels of any stem, the locked response of any other encoder.

A token's kernel is what it does when the spectrogram around it changes a little:

    J[d, t, m] = d token[d] / d mel[t, m],   power[d](f) = sum over m of |sum over t of J[d, t, m] exp(-2 pi i f t)|^2

For a convolution J is its weights, whatever the clip; where a stem adapts to the sound, J is its kernel for that sound.
An encoder of waveforms has no such kernels, so they are measured from outside: the clip's log-energy is modulated at
each rate and at several phases, and what of a channel turns with the phase is its locked response.

Legend: T frames of a token's sight, M mel bins, F subbands, D channels, R modulation rates, S samples, n phases.
Source: ours, see `aliasing.response`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.response.measure import locked
from aasp.aliasing.response.stimuli import swing
from aasp.encoders import EncoderAdapter
from aasp.errors import AaspError
from aasp.stems.contract import Stem

RATES = 101
"""Modulation rates from 0 to half the frame rate at which kernels are read."""
HERTZ = np.arange(2.0, 49.0, 2.0)
"""Modulation rates of locked responses, evenly spaced as those of kernels are."""
PHASES = 4
DEPTH = 0.7
"""Nepers of energy, 3 dB: small, since it is a derivative that is wanted."""
SECONDS = 2.5
"""Of a clip, the loudest: every rate and phase is another forward pass."""
FRAME_RATE = 100.0
"""Of the field's log-mels: the band ends at half of it."""


@dataclass(frozen=True)
class Kernels:
    """The linearised kernels of one time patch, (F, D, T, M), and their power, (F, D, R), at rates in Hz, (R,)."""

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
        """A kernel over time: its first singular vector there, largest value positive, shape (T,)."""
        u, s, _ = np.linalg.svd(self.jacobian[subband, channel])
        course = u[:, 0] * s[0]
        return course * np.sign(course[np.abs(course).argmax()])


def linearised(stem: Stem, mel_TM: Tensor, frame_rate: float) -> Kernels:
    """Linearise a stem around the loudest time patch of a clip's normalised log-mel, which is of whole patches."""
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


@torch.inference_mode()
def locked_kernels(adapter: EncoderAdapter, wave_S: Tensor) -> Kernels:
    """The power of each channel's locked response at HERTZ, as kernels of one subband that have no course over time.

    The adapter gives vectors over time; the clip is at its rate.
    """
    clip = _loudest(wave_S, round(SECONDS * adapter.rate))
    seconds = torch.arange(len(clip), dtype=torch.float64) / adapter.rate
    phases = 2 * np.pi * np.arange(PHASES) / PHASES
    embed = lambda waves: adapter.embed_waveform(waves).timestamps.double().numpy()
    rest, power = embed(clip[None]), []
    for hertz in HERTZ:
        deviations = embed(clip * torch.exp(DEPTH / 2 * swing(hertz, seconds, phases.tolist())).float()) - rest
        power.append(np.square(np.abs(locked(deviations, phases, DEPTH))).mean(0))
    power_1DR = np.stack(power, axis=-1)[None]
    return Kernels(np.zeros((*power_1DR.shape[:2], 0, 0)), HERTZ, power_1DR)


def check_over_time(adapter: EncoderAdapter) -> None:
    """See that an adapter gives vectors over time.

    Raises:
        AaspError: it gives one a clip.
    """
    if not adapter.token_rate:
        raise AaspError(
            f"{adapter.name}: gives one vector a clip; kernels need vectors over time, "
            "`aasp alias stability` can examine it"
        )


def _loudest(wave_S: Tensor, samples: int) -> Tensor:
    if len(wave_S) <= samples:
        return wave_S
    upto = torch.cat([wave_S.new_zeros(1, dtype=torch.float64), wave_S.double().square().cumsum(0)])
    first = int((upto[samples:] - upto[:-samples]).argmax())
    return wave_S[first : first + samples]
