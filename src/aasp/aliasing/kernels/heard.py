"""Where an encoder of waveforms looks: which modulations of a clip's loudness each of its channels follows.

It has no log-mel whose kernels could be read, so they are heard from outside: the clip's log-energy is swung at each
rate and at several phases, and what of a channel turns with the phase is its locked response.

Legend: S samples, n phases, G vectors over time, D channels, R modulation rates. Source: ours, see `aliasing.response`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.kernels.linearised import Kernels
from aasp.aliasing.response.measure import locked
from aasp.aliasing.subjects import Subject
from aasp.errors import AaspError

HERTZ = np.arange(2.0, 49.0, 2.0)
"""Modulation rates, evenly spaced as those of kernels are."""
PHASES = 4
DEPTH = 0.7
"""Nepers of energy, 3 dB: small, since it is a derivative that is wanted."""
SECONDS = 2.5
"""Of a clip, the loudest: every rate and phase is heard anew."""
FRAME_RATE = 100.0
"""Of the field's log-mels: the band ends at half of it."""


@torch.inference_mode()
def heard(subject: Subject, wave_S: Tensor) -> Kernels:
    """The power of each channel's locked response at HERTZ, as kernels of one subband that have no course over time.

    Args:
        subject: with vectors over time.
        wave_S: a clip at the subject's rate.
    """
    clip = _loudest(wave_S, round(SECONDS * subject.rate))
    seconds = torch.arange(len(clip), dtype=torch.float64) / subject.rate
    phases = 2 * np.pi * np.arange(PHASES) / PHASES
    rest = subject.hear(clip[None]).timestamps.double().numpy()
    power = []
    for hertz in HERTZ:
        turn = 2 * np.pi * hertz * seconds + torch.from_numpy(phases)[:, None]
        waves = clip * torch.exp(DEPTH / 2 * turn.cos()).float()
        deviations = subject.hear(waves).timestamps.double().numpy() - rest
        power.append(np.square(np.abs(locked(deviations, phases, DEPTH))).mean(0))
    power_1DR = np.stack(power, axis=-1)[None]
    return Kernels(np.zeros((*power_1DR.shape[:2], 0, 0)), HERTZ, power_1DR)


def check(subject: Subject) -> None:
    """See that a subject gives vectors over time.

    Raises:
        AaspError: it gives one a clip.
    """
    if not subject.token_rate:
        raise AaspError(
            f"{subject.name}: gives one vector a clip; where it looks can be told of vectors over time only, "
            "`aasp alias stability` can examine it"
        )


def _loudest(wave_S: Tensor, samples: int) -> Tensor:
    if len(wave_S) <= samples:
        return wave_S
    upto = torch.cat([wave_S.new_zeros(1, dtype=torch.float64), wave_S.double().square().cumsum(0)])
    first = int((upto[samples:] - upto[:-samples]).argmax())
    return wave_S[first : first + samples]
