"""Sums of windows weighted by complex exponentials, optionally chirped, with the sums for their gradients, in one pass.

Legend: K taps, Q = 1 or 2 sides of J taps each, the j-th at distance m = j + m_0 from the centre, L = alpha + i beta,
chirp rate g (-g on the side before the centre), weight w.

    F_j = w exp(-L j - i g m^2 / 2),   A = sum_j F_j v_j,   y = A_after + conj(A_before), or A of the only side
    dA = A dw / w - dL sum_j j F_j v_j - i dg sum_j (m^2 / 2) F_j v_j

No exponential is computed per tap: F_{j+1} = F_j r_j, and with a chirp r_{j+1} = r_j exp(-i g). The sums in dA are
computed with the value and saved, so that the backward pass reads no windows; the gradient of tap j is Re(G F_j), by
the same recurrence, where G is the gradient of A. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from aasp.numerics.pieces import cut, dense, refuse_second_derivative, run
from aasp.tracing import is_exported

Order = Literal["outwards", "folded", "backwards"]
Complex = tuple[Tensor, Tensor]


def exponential_sums(v: Tensor, order: Order, *points: Tensor) -> Complex:
    """Sum each window, weighted by its exponential.

    Args:
        v: windows, shape (..., K); fastest if neighbours in memory belong to neighbouring points.
        order: "outwards", two sides of J = K // 2 taps, from the centre to the first and to the last one (the centre of
            an odd K belongs to neither); "folded", the same with y = A_after + A_before, which is one sum;
            "backwards", one side of J = K taps, from the last to the first.
        points: alpha, beta, both parts of w, and with a chirp g, each (...).

    Returns:
        Real and imaginary part of y, each (...). Double backward raises an error. The backward pass reads both outputs,
        so they must not be changed in place. In fp32 the error with a chirp grows with the number of taps: with 96 it
        is about five times that without a chirp.
    """
    if is_exported():  # traced graphs may be differentiated later
        re, im = _values(*points, v, order=order, slopes=False, in_place=False)
        return re, im
    slopes = torch.is_grad_enabled() and any(one.requires_grad for one in points)
    re, im = _Sums.apply(v, order, slopes, *points)
    return re, im


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, order: Order, slopes: bool, *points: Tensor) -> Complex:
        outputs = 2 * len(points) if slopes else 2
        found = run(partial(_values, order=order, slopes=slopes), outputs, (*points, v))
        ctx.save_for_backward(*points, *found)
        ctx.order, ctx.count, ctx.layout = order, len(points), (v.shape, v.stride())
        return found[0], found[1]

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Any, ...]:
        refuse_second_derivative()
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no second read
        points, found = saved[: ctx.count], saved[ctx.count :]
        for_v, for_points = None, _for_points(points, found, *g) if len(found) > 2 else [None] * ctx.count
        if ctx.needs_input_grad[0]:
            for_v = dense(g[0], *ctx.layout)
            for piece in cut(g[0], (*points, *g, for_v)):
                _spread(*piece, order=ctx.order)
        return for_v, None, None, *for_points


def _values(*tensors: Tensor, order: Order, slopes: bool, in_place: bool = True) -> tuple[Tensor, ...]:
    """Both parts of y, and with `slopes` those of the other sums that `_for_points` needs."""
    *points, v = tensors
    taps, first = _taps(v.movedim(-1, 0), order), _first(v.shape[-1], order)
    alpha, sides = points[0], 2 if order == "outwards" else 1
    powers = len(points) - 2 if slopes else 1
    sums = [tuple(alpha.new_zeros(sides, *alpha.shape) for _ in range(2)) for _ in range(powers)]
    buffer = torch.empty_like(sums[0][0]) if in_place else None
    factors = _factors(points, (points[2][None], points[3][None]), len(taps), order, first, in_place)
    for j, (re, im) in enumerate(factors):
        term = _term(taps[j], order, buffer)
        weights = (1, j, (j + first) ** 2 / 2)[:powers]
        for weight, (sum_re, sum_im) in zip(weights, sums, strict=True):
            if weight:
                sum_re.addcmul_(re, term, value=weight)
                sum_im.addcmul_(im, term, value=weight)
    if not slopes:
        return _joined(*sums[0])
    by_square = [part for one in sums[2:] for part in _joined(*one)]
    return *_joined(*sums[0]), *_apart(*sums[0]), *_joined(*sums[1]), *_apart(*sums[1]), *by_square


def _for_points(points: Sequence[Tensor], found: Sequence[Tensor], g_re: Tensor, g_im: Tensor) -> list[Tensor]:
    """Gradients with respect to alpha, beta, both parts of w, and g."""
    _, _, w_re, w_im, *chirp = points
    y_re, y_im, apart_re, apart_im, y1_re, y1_im, apart1_re, apart1_im, *y2 = found
    for_size = (g_re * y_re).addcmul_(g_im, y_im)
    for_angle = (g_im * apart_re).addcmul_(g_re, apart_im, value=-1)
    for_alpha = (g_re * y1_re).addcmul_(g_im, y1_im).neg_()
    for_beta = (g_re * apart1_im).addcmul_(g_im, apart1_re, value=-1)
    square = w_re.square().addcmul_(w_im, w_im).clamp_min_(torch.finfo(w_re.dtype).tiny)
    for_w_re = (for_size * w_re).addcmul_(for_angle, w_im, value=-1).div_(square)
    for_w_im = (for_size * w_im).addcmul_(for_angle, w_re).div_(square)
    for_gamma = [(g_re * y2[1]).addcmul_(g_im, y2[0], value=-1)] if chirp else []
    return [for_alpha, for_beta, for_w_re, for_w_im, *for_gamma]


def _spread(*tensors: Tensor, order: Order) -> None:
    """Write the gradient of each tap, Re(G F_j), at the tap's position."""
    *points, g_re, g_im, for_v = tensors
    for_K = for_v.movedim(-1, 0)
    taps = _taps(for_K, order)
    if order != "backwards" and len(for_K) % 2:
        for_K[len(for_K) // 2].zero_()
    g_im = torch.stack([g_im, -g_im]) if order == "outwards" else -g_im[None]
    start = _times((g_re.expand_as(g_im), g_im), (points[2], points[3]))
    for tap, (re, _) in zip(taps, _factors(points, start, len(taps), order, _first(len(for_K), order)), strict=True):
        tap.copy_(re)


def _factors(
    points: Sequence[Tensor], start: Complex, count: int, order: Order, first: float, in_place: bool = True
) -> Iterator[Complex]:
    """F_j for each j, both parts of shape (1 or 2, ...), valid until the next; start is F_0 without its chirp."""
    alpha, beta, _, _, *chirp = points
    angle, turn = beta, None
    if chirp:
        rate = torch.stack([-chirp[0], chirp[0]]) if order == "outwards" else chirp[0][None]
        start = _times(start, _unit(rate * (first**2 / 2)))
        angle = beta + rate * (first + 0.5)
        turn = -2 * torch.sin(rate / 2).square(), -torch.sin(rate)  # exp(-i g) - 1, with less rounding error
    cos, sin = _unit(angle)
    decay = torch.exp(-alpha)
    factor, ratio = start, (decay * cos, decay * sin)
    buffers = [_buffers(factor, in_place) for _ in range(2)]
    more = [_buffers(ratio, in_place and bool(chirp)) for _ in range(2)]
    for j in range(count):
        yield factor
        factor = _times(factor, ratio, buffers[j % 2])
        if turn:
            ratio = _moved(ratio, turn, more[j % 2])


def _times(a: Complex, b: Complex, into: tuple[Tensor | None, Tensor | None] = (None, None)) -> Complex:
    re = torch.mul(a[0], b[0], out=into[0]).addcmul_(a[1], b[1], value=-1)
    return re, torch.mul(a[1], b[0], out=into[1]).addcmul_(a[0], b[1])


def _moved(a: Complex, b: Complex, into: tuple[Tensor | None, Tensor | None]) -> Complex:
    """a (1 + b)."""
    re = torch.addcmul(a[0], a[0], b[0], out=into[0]).addcmul_(a[1], b[1], value=-1)
    return re, torch.addcmul(a[1], a[1], b[0], out=into[1]).addcmul_(a[0], b[1])


def _unit(angle: Tensor) -> Complex:
    """exp(-i angle)."""
    return torch.cos(angle), -torch.sin(angle)


def _buffers(like: Complex, wanted: bool) -> tuple[Tensor | None, Tensor | None]:
    if not wanted:
        return None, None
    empty = lambda: torch.empty_like(like[0], memory_format=torch.contiguous_format)
    return empty(), empty()


def _joined(re: Tensor, im: Tensor) -> Complex:
    """A_after + conj(A_before), of shape (...)."""
    return (re[0], im[0]) if len(re) == 1 else (re[1] + re[0], im[1] - im[0])


def _apart(re: Tensor, im: Tensor) -> Complex:
    """A_after - conj(A_before)."""
    return (re[0], im[0]) if len(re) == 1 else (re[1] - re[0], im[1] + im[0])


def _first(taps: int, order: Order) -> float:
    """m_0."""
    return 0.0 if order == "backwards" else (1 + taps % 2) / 2


def _taps(v_K: Tensor, order: Order) -> list[Tensor]:
    """The taps of each j: views of shape (1 or 2, ...), the tap before the centre first."""
    count = len(v_K)
    if order == "backwards":
        return [v_K[k : k + 1] for k in reversed(range(count))]
    ends = [(k, count - 1 - k) for k in reversed(range(count // 2))]
    return [v_K[first : last + 1 : last - first] for first, last in ends]


def _term(tap: Tensor, order: Order, buffer: Tensor | None) -> Tensor:
    """The contribution of the taps of one j, contiguous if there is a buffer."""
    if order == "folded":
        return torch.add(tap[:1], tap[1:], out=buffer)
    return tap if buffer is None else buffer.copy_(tap)
