"""How far from a frequency a kernel's gradient reaches: that of its power with respect to its frequency.

Legend: K taps, d distance in radians per frame, y the kernel's output, R phases of a tone.

    g(d) = mean over the tone's phase and both sides of |d |y|^2 / d beta|   at beta = pi / 2 +- d

for a tone of amplitude 1 at pi / 2 radians per frame and kernels of unit L2 norm. Source: the argument is the paper's
(after Hayes et al. 2023, on learning a sinusoid's frequency by gradient descent), the measure is ours. It is exact: the
gradient is autograd's, through the stem's own unit with its zero-order hold; the controls have the -3 dB bandwidth of
the two-sided exponential.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import torch

from aasp.stems.sblu import Phase, Window, bilateral_laplace

ALPHA = 0.3
"""Decay per frame: a window of 64 frames then contains the whole exponential, one of 16 nine tenths of it."""
TAPS = (16, 48, 64)
DISTANCES = tuple(round(0.02 * 1.16**k, 4) for k in range(30))
"""Radians per frame, 0.02 to 1.48: at 100 frames per second 0.3 to 24 Hz."""
TONE, PHASES = math.pi / 2, 64


def frequency_gradient(
    taps: int, window: Window, phase: Phase, distances: Sequence[float] = DISTANCES
) -> tuple[list[float], list[float]]:
    """The gradient at each distance in radians per frame, for windows K and phases as in `bilateral_laplace`.

    Returns:
        Mean magnitude of the gradient, and its mean with the sign relative to the tone: equal if it always points
        towards the tone, negative if it points away.
    """
    m = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    turn = 2 * math.pi * torch.arange(PHASES, dtype=torch.float64) / PHASES
    tone_RK = torch.cos(TONE * m + turn[:, None])
    away = torch.tensor(distances, dtype=torch.float64)
    away = torch.stack([away, -away])  # (2, distances)
    beta = (TONE + away[..., None]).repeat(1, 1, PHASES).requires_grad_()
    decay = torch.tensor(ALPHA, dtype=torch.float64)
    real, imag = bilateral_laplace(tone_RK[:, None], decay, beta[..., None], phase=phase, window=window, gain="unit")
    (gradient,) = torch.autograd.grad((real.square() + imag.square()).sum(), beta)
    towards = -gradient * away.sign()[..., None]
    return gradient.abs().mean((0, 2)).tolist(), towards.mean((0, 2)).tolist()


def frequency_gradients() -> dict[str, Any]:
    """All windows, both phases and a few lengths, for JSON."""
    rows = []
    for taps in TAPS:
        for window in get_args(Window):
            for phase in ("conjugate",) if window == "one-sided" else get_args(Phase):  # one side has one phase
                size, towards = frequency_gradient(taps, window, phase)
                rows.append({"taps": taps, "window": window, "phase": phase, "size": size, "towards": towards})
    return {"alpha": ALPHA, "distances": list(DISTANCES), "rows": rows}
