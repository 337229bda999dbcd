"""The Structured Bilateral Laplace Unit's kernel, in real arithmetic.

Legend: S states, K taps, J = K // 2 taps on each side of the centre, m tap offset in frames from the centre,
L = alpha + i beta (decay and frequency per frame), x = step * L / 2.

    y = sum_m w_m v_m,   w_m = (2 / L) sinh(x) exp(-L step |m|),   m = k - (K - 1) / 2

Source: the paper's equation 2, whose prefactor is a zero-order hold centred on each tap. It is exact for half-integer
offsets (even K). The centre tap of an odd K straddles the fold of |m|; its exact weight (2 / L)(1 - exp(-x)) is ours.
So are the conjugate phase and the window controls, which isolate what the two-sided exponential itself brings.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Phase = Literal["even", "conjugate"]
Window = Literal["two-sided", "one-sided", "gaussian", "hann", "rectangular"]
Gain = Literal["paper", "unit"]
Complex = tuple[Tensor, Tensor]

GAUSSIAN_DEVIATION, HANN_LENGTH, RECTANGULAR_LENGTH = 1.294, 7.03, 4.32
"""In units of 1 / alpha: each control then has the -3 dB bandwidth of the two-sided exponential."""


def bilateral_laplace(
    v: Tensor,
    alpha: Tensor,
    beta: Tensor,
    *,
    phase: Phase = "conjugate",
    window: Window = "two-sided",
    gain: Gain = "paper",
    step: float = 1.0,
) -> Complex:
    """Analyse windows of K frames with a complex sinusoid under a two-sided exponential.

    Args:
        v: real windows centred on the analysed instant, shape (..., S, K).
        alpha: decay per frame, positive, broadcastable to (..., S).
        beta: frequency in radians per frame, broadcastable to (..., S).
        phase: "even", exp(-i beta |m|), the quoted equation; "conjugate", exp(-i beta m), an envelope detector.
            The one-sided window has one side only, and the same value in both.
        window: "two-sided" exponential, or a control of the same -3 dB bandwidth: "one-sided" (causal, with its own
            zero-order hold, over all K taps from the last frame back), "gaussian", "hann" or "rectangular" (sampled,
            no hold; their lengths clipped to K).
        gain: "paper" keeps the weights as they are, "unit" scales them to unit L2 norm over the K taps.
        step: the frame step Delta that alpha and beta refer to.

    Returns:
        Real and imaginary part, each of shape (..., S). float64 stays float64; anything lower is computed in fp32,
        under autocast too.
    """
    precision = torch.float64 if v.dtype == torch.float64 else torch.float32
    v, alpha, beta = v.to(precision), alpha.to(precision), beta.to(precision)
    taps = v.shape[-1]
    side, centre = _weights(alpha[..., None], beta[..., None], taps, window, step)
    if phase == "conjugate":
        centre = (centre[0], torch.zeros_like(centre[1]))
    if gain == "unit":
        side, centre = _unit(side, centre, taps)
    if window == "one-sided":
        newest_first = v.flip(-1)
        return (side[0] * newest_first).sum(-1), (side[1] * newest_first).sum(-1)

    # Taps at +m and -m share their weight, up to a conjugate: fold them first, and half the products remain.
    half = taps // 2
    after, before = v[..., taps - half :], v[..., :half].flip(-1)
    both = after + before
    real = (side[0] * both).sum(-1)
    imag = (side[1] * (both if phase == "even" else after - before)).sum(-1)
    if taps % 2:
        real = real + centre[0][..., 0] * v[..., half]
        imag = imag + centre[1][..., 0] * v[..., half]
    return real, imag


def kernel(
    alpha: Tensor, beta: Tensor, taps: int, *, phase: Phase, window: Window, gain: Gain, step: float = 1.0
) -> Complex:
    """The weights w_m themselves, shape (..., S, K): the response of `bilateral_laplace` to each tap's impulse."""
    impulses = torch.eye(taps, dtype=alpha.dtype, device=alpha.device)
    options = dict(phase=phase, window=window, gain=gain, step=step)
    return bilateral_laplace(impulses, alpha[..., None], beta[..., None], **options)  # type: ignore[arg-type]


def _weights(alpha: Tensor, beta: Tensor, taps: int, window: Window, step: float) -> tuple[Complex, Complex]:
    """Weights of the taps after the centre (or, one-sided, of all taps back from the newest), and of the centre."""
    count, first = (taps, 0.0) if window == "one-sided" else (taps // 2, (1 + taps % 2) / 2)
    time = step * (torch.arange(count, dtype=alpha.dtype, device=alpha.device) + first)
    cos, sin = torch.cos(beta * time), -torch.sin(beta * time)
    one, zero = torch.ones_like(alpha), torch.zeros_like(alpha)
    if window in ("two-sided", "one-sided"):
        hold, centre = _holds(alpha, beta, step, centred=window == "two-sided")
        decay = torch.exp(-alpha * time)
        real, imag = decay * cos, decay * sin
        return (hold[0] * real - hold[1] * imag, hold[0] * imag + hold[1] * real), centre
    if window == "gaussian":
        envelope = torch.exp(-0.5 * (alpha * time / GAUSSIAN_DEVIATION).square())
    else:
        length = ((HANN_LENGTH if window == "hann" else RECTANGULAR_LENGTH) / alpha).clamp_max(taps * step)
        inside = time <= length / 2
        envelope = inside * (0.5 + 0.5 * torch.cos(2 * math.pi * time / length) if window == "hann" else one)
    return (envelope * cos, envelope * sin), (one, zero)


def _holds(alpha: Tensor, beta: Tensor, step: float, centred: bool) -> tuple[Complex, Complex]:
    """Zero-order holds: (2 / L) sinh(x), or (1 - exp(-2x)) / L when not centred; and (2 / L)(1 - exp(-x))."""
    a, b = alpha * step / 2, beta * step / 2
    centre = (1 - torch.exp(-a) * torch.cos(b), torch.exp(-a) * torch.sin(b))
    if centred:
        hold = _over(2 * torch.sinh(a) * torch.cos(b), 2 * torch.cosh(a) * torch.sin(b), alpha, beta)
    else:
        hold = _over(1 - torch.exp(-2 * a) * torch.cos(2 * b), torch.exp(-2 * a) * torch.sin(2 * b), alpha, beta)
    return hold, _over(2 * centre[0], 2 * centre[1], alpha, beta)


def _over(real: Tensor, imag: Tensor, alpha: Tensor, beta: Tensor) -> Complex:
    """(real + i imag) / (alpha + i beta)."""
    square = alpha.square() + beta.square()
    return (real * alpha + imag * beta) / square, (imag * alpha - real * beta) / square


def _unit(side: Complex, centre: Complex, taps: int) -> tuple[Complex, Complex]:
    """Scale the weights to unit L2 norm over all K taps."""
    energy = (side[0].square() + side[1].square()).sum(-1, keepdim=True)
    if side[0].shape[-1] < taps:
        energy = 2 * energy + (centre[0].square() + centre[1].square()) * (taps % 2)
    scale = energy.rsqrt()
    return (side[0] * scale, side[1] * scale), (centre[0] * scale, centre[1] * scale)
