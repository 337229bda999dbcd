"""The kernel of the Structured Bilateral Laplace Unit (SBLU), in real arithmetic.

Legend: S states, K taps, m tap offset in frames from the centre, L = alpha + i beta (decay and frequency per frame),
x = step * L / 2, z = exp(-L step).

    y = sum_m w_m v_m,   w_m = (2 / L) sinh(x) exp(-L step |m|),   m = k - (K - 1) / 2

Source: the paper's equation 2, whose prefactor is a zero-order hold centred on each tap, the integral of exp(-L |t|)
over the tap: w_m = (z^(|m| - 1/2) - z^(|m| + 1/2)) / L. It is exact for half-integer offsets (even K). The centre tap
of an odd K contains the kink of |m| at 0; its exact weight (2 / L)(1 - z^(1/2)) is ours. So are the conjugate phase,
the window controls, which isolate the effect of the two-sided exponential, and the recurrence over taps.

Chirped (ours): the sinusoid's frequency changes by gamma per frame, its phase is beta |m| + gamma m^2 / 2 ("even"), or
beta m + gamma m^2 / 2 ("conjugate"), a linear chirp over the window. The hold around tap m, t = m + u, becomes

    integral of exp(-L |t| - i gamma t^2 / 2) = exp(-i gamma m^2 / 2) exp(-L |m|)
                                                * integral over |u| < 1/2 of exp(-(L + i gamma m) u - i gamma u^2 / 2)

for m > 0. The last integral has no closed form; it is evaluated at gamma = 0, so that w_m is multiplied by
exp(-i gamma m^2 / 2), sampled at the tap. For small alpha this scales a tap by sinc(beta / 2) over
sinc((beta + gamma m) / 2) and does not change its phase. Since |exp(-i gamma m^2 / 2)| = 1, the norm for unit gain is
the same.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from aasp.numerics.exponentials import Order, exponential_sums
from aasp.numerics.pieces import in_pieces

Phase = Literal["even", "conjugate"]
Window = Literal["two-sided", "one-sided", "gaussian", "hann", "rectangular"]
Gain = Literal["paper", "unit"]
Complex = tuple[Tensor, Tensor]

GAUSSIAN_DEVIATION, HANN_LENGTH, RECTANGULAR_LENGTH = 1.294, 7.03, 4.32
"""In units of 1 / alpha, so that each control has the -3 dB bandwidth of the two-sided exponential."""


def bilateral_laplace(
    v: Tensor,
    alpha: Tensor,
    beta: Tensor,
    *,
    phase: Phase = "conjugate",
    window: Window = "two-sided",
    gain: Gain = "paper",
    step: float = 1.0,
    gamma: Tensor | None = None,
) -> Complex:
    """Analyse windows of K frames with a complex sinusoid weighted by a two-sided exponential.

    Args:
        v: real windows centred on the analysed instant, shape (..., S, K).
        alpha: decay per frame, positive, broadcastable to (..., S).
        beta: frequency in radians per frame, broadcastable to (..., S).
        phase: "even", `exp(-i beta |m|)`, the paper's equation; "conjugate", `exp(-i beta m)`, an envelope detector.
            With the one-sided window both give the same value.
        window: "two-sided" exponential, or a control of the same -3 dB bandwidth: "one-sided" (causal, with its own
            zero-order hold, over all K taps from the last frame back), "gaussian", "hann" or "rectangular" (sampled,
            no hold; their lengths clipped to K).
        gain: "paper" uses the weights unscaled, "unit" scales them to unit L2 norm over the K taps.
        step: the frame step Delta that alpha and beta refer to.
        gamma: chirp rate in radians per frame squared, broadcastable to (..., S); no chirp if omitted. For the
            one-sided window, m counts from the last frame back.

    Returns:
        Real and imaginary part, each of shape (..., S). float64 stays float64; lower precisions are computed in fp32,
        also under autocast.
    """
    precision = torch.float64 if v.dtype == torch.float64 else torch.float32
    v, alpha, beta = v.to(precision), alpha.to(precision), beta.to(precision)
    if step != 1:
        alpha, beta = alpha * step, beta * step  # per step from here on
    chirp = () if gamma is None else (gamma.to(precision) * step**2,)
    shape = torch.broadcast_shapes(v.shape[:-1], alpha.shape, beta.shape, *(one.shape for one in chirp))
    alpha, beta, v = alpha.expand(shape), beta.expand(shape), v.expand(*shape, v.shape[-1])
    exponential, options = window in ("two-sided", "one-sided"), dict(phase=phase, window=window, gain=gain)
    points = (alpha, beta, v, *(one.expand(shape) for one in chirp))
    if exponential:
        real, imag = _exponential(*points, **options)  # type: ignore[arg-type]
    else:
        real, imag = in_pieces(partial(_sampled, **options), 2, *points)  # type: ignore[arg-type]
    held = step != 1 and gain == "paper" and exponential
    return (real * step, imag * step) if held else (real, imag)


def kernel(
    alpha: Tensor, beta: Tensor, taps: int, *, phase: Phase, window: Window, gain: Gain, step: float = 1.0,
    gamma: Tensor | None = None,
) -> Complex:  # fmt: skip
    """The weights w_m, shape (..., S, K): the response of `bilateral_laplace` to an impulse at each tap."""
    impulses = torch.eye(taps, dtype=alpha.dtype, device=alpha.device)
    chirp = None if gamma is None else gamma[..., None]
    options = dict(phase=phase, window=window, gain=gain, step=step, gamma=chirp)
    return bilateral_laplace(impulses, alpha[..., None], beta[..., None], **options)  # type: ignore[arg-type]


def _exponential(
    alpha: Tensor, beta: Tensor, v: Tensor, *gamma: Tensor, phase: Phase, window: Window, gain: Gain
) -> Complex:
    """Exponential windows: the weight of the tap at z ** 0 times powers of z on each side, plus the centre of odd K."""
    taps, two_sided = v.shape[-1], window == "two-sided"
    odd = two_sided and taps % 2 == 1
    weights_of = partial(_weights, taps=taps, two_sided=two_sided, real=phase == "conjugate", gain=gain)
    re, im, *centre = in_pieces(weights_of, 2 + odd * (1 if phase == "conjugate" else 2), alpha, beta)
    order: Order = "backwards" if not two_sided else "outwards" if phase == "conjugate" else "folded"
    real, imag = exponential_sums(v, order, alpha, beta, re, im, *gamma)
    if odd:
        middle = v[..., taps // 2]
        real = real + centre[0] * middle
        if len(centre) == 2:
            imag = imag + centre[1] * middle
    return real, imag


def _weights(alpha: Tensor, beta: Tensor, *, taps: int, two_sided: bool, real: bool, gain: Gain) -> tuple[Tensor, ...]:
    """The weight at z ** 0 and, for odd K, that of the centre, which is real in conjugate phase.

    All are multiplied by conj(L) first, so that their scale, 1 / |L|^2 or the norm, is one real factor.
    """
    z, odd = _power(alpha, beta), two_sided and taps % 2 == 1
    parts = _times((1 - z[0], -z[1]), (alpha, -beta))
    centre: tuple[Tensor, ...] = ()
    if odd:  # the taps next to the centre begin half a step later
        half = _power(alpha / 2, beta / 2)
        parts = _times(parts, half)
        centre = _times((2 - 2 * half[0], -2 * half[1]), (alpha, -beta))[: 1 if real else 2]
    if gain == "unit":
        count, sides = (taps // 2, 2) if two_sided else (taps, 1)
        powers = sides * torch.expm1(-2 * count * alpha) / torch.expm1(-2 * alpha)  # sum of |z| ** 2j
        scale = sum((part * part for part in centre), powers * (parts[0] * parts[0] + parts[1] * parts[1])).rsqrt()
    else:
        scale = 1 / (alpha * alpha + beta * beta)
    return tuple(part * scale for part in (*parts, *centre))


def _sampled(
    alpha: Tensor, beta: Tensor, v: Tensor, gamma: Tensor | None = None, *, phase: Phase, window: Window, gain: Gain
) -> Complex:
    """The controls: sampled window times sampled sinusoid. Weights at +m and -m are equal, up to conjugation."""
    if gamma is not None:
        offset = torch.arange(v.shape[-1], dtype=v.dtype, device=v.device) - (v.shape[-1] - 1) / 2
        angle = gamma[..., None] * (0.5 * offset.square())
        sums = partial(_sampled, phase=phase, window=window, gain=gain)
        even, odd = sums(alpha, beta, v * torch.cos(angle)), sums(alpha, beta, v * torch.sin(angle))
        return even[0] + odd[1], even[1] - odd[0]
    taps = v.shape[-1]
    half = taps // 2
    time = torch.arange(half, dtype=alpha.dtype, device=alpha.device) + (1 + taps % 2) / 2
    alpha, beta = alpha[..., None], beta[..., None]
    if window == "gaussian":
        envelope = torch.exp(-0.5 * (alpha * time / GAUSSIAN_DEVIATION).square())
    else:
        length = ((HANN_LENGTH if window == "hann" else RECTANGULAR_LENGTH) / alpha).clamp_max(taps)
        envelope = (time <= length / 2).to(alpha.dtype)
        if window == "hann":
            envelope = envelope * (0.5 + 0.5 * torch.cos(2 * math.pi * time / length))
    scale = (2 * envelope.square().sum(-1) + taps % 2).rsqrt() if gain == "unit" else torch.ones_like(alpha[..., 0])
    after, before = v[..., taps - half :], v[..., :half].flip(-1)
    both = after + before
    real = (envelope * torch.cos(beta * time) * both).sum(-1)
    imag = -(envelope * torch.sin(beta * time) * (both if phase == "even" else after - before)).sum(-1)
    if taps % 2:
        real = real + v[..., half]
    return real * scale, imag * scale


def _power(alpha: Tensor, beta: Tensor) -> Complex:
    """exp(-L)."""
    decay = torch.exp(-alpha)
    return decay * torch.cos(beta), -decay * torch.sin(beta)


def _times(a: Complex, b: Complex) -> Complex:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]
