"""Polynomials at complex points by Horner's scheme, in real arithmetic.

Legend: K coefficients c_k, real or with imaginary parts e_k, Q = 1 or 2 polynomials of J of them at one point
z = x + i y, value p and derivative d.

    p = c_0 + z (c_1 + z (c_2 + ...)),   d = d p / d z by the same scheme over the partial sums of p

Source: Horner's scheme and its synthetic division. That the derivative comes with the value, so that the backward pass
never reads the coefficients again, is ours.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aasp.tracing import is_exported

Order = Literal["outwards", "folded", "backwards"]
Parts = tuple[Tensor, ...]


def polynomials(c: Tensor, x: Tensor, y: Tensor, order: Order, e: Tensor | None = None) -> Parts:
    """Evaluate one or two polynomials at each complex point.

    Args:
        c: coefficients, shape (..., K); fastest where neighbours in memory belong to neighbouring points.
        x: real part of z, shape (...), of c's dtype.
        y: imaginary part of z, shape (...).
        order: "outwards", two polynomials of J = K // 2 coefficients, from beside the middle of c to its first and to
            its last one (the centre of an odd K belongs to neither); "folded", their sum, at half the price;
            "backwards", one of J = K coefficients, from c's last to its first.
        e: imaginary parts of the coefficients, shaped as c; they are real where it is left out.

    Returns:
        Real and imaginary part, each of shape (Q, ...). The backward pass keeps z and d; it cannot be differentiated.
    """
    c_K, e_K = c.movedim(-1, 0), None if e is None else e.movedim(-1, 0)
    if is_exported():
        return _horner(c_K, e_K, x, y, order, slope=False, in_place=False)  # what is traced may be differentiated later
    if torch.is_grad_enabled() and (c.requires_grad or x.requires_grad or y.requires_grad):
        return _Polynomials.apply(c_K, e_K, x, y, order, x.requires_grad or y.requires_grad)
    return _horner(c_K, e_K, x, y, order, slope=False)


class _Polynomials(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, c_K: Tensor, e_K: Tensor | None, x: Tensor, y: Tensor, order: Order, slope: bool) -> Parts:
        p_re, p_im, *d = _horner(c_K, e_K, x, y, order, slope)
        ctx.save_for_backward(x, y, *d)
        ctx.order, ctx.shaped_as_c = order, torch.empty_like(c_K, device="meta")
        return p_re, p_im

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_re: Tensor, g_im: Tensor) -> tuple[Tensor | None, ...]:
        x, y, *d = ctx.saved_tensors
        for_c = for_e = for_x = for_y = None
        if d:
            for_x = (g_re * d[0]).addcmul_(g_im, d[1]).sum(0)
            for_y = (g_im * d[0]).addcmul_(g_re, d[1], value=-1).sum(0)
        if ctx.needs_input_grad[0]:
            for_c = torch.empty_like(ctx.shaped_as_c, device=x.device)
            for_e = torch.empty_like(for_c) if ctx.needs_input_grad[1] else None
            _spread(for_c, for_e, x, y, g_re, g_im, ctx.order)
        return for_c, for_e, for_x, for_y, None, None


def _horner(
    c_K: Tensor, e_K: Tensor | None, x: Tensor, y: Tensor, order: Order, slope: bool, in_place: bool = True
) -> Parts:
    """p, and if requested d, each as real and imaginary part of shape (Q, ...)."""
    p_re = x.new_zeros(2 if order == "outwards" else 1, *x.shape)
    p_im, d_re, d_im = torch.zeros_like(p_re), torch.zeros_like(p_re), torch.zeros_like(p_re)
    buffer = (lambda unused: unused) if in_place else (lambda unused: None)
    re, im = buffer(torch.empty_like(p_re)), buffer(torch.empty_like(p_re))
    terms = _terms(c_K, order)
    imaginary = [] if e_K is None else _terms(e_K, order)
    if terms:
        p_re = p_re + _sum(terms.pop(), order)
    if imaginary:
        p_im = p_im + _sum(imaginary.pop(), order)
    for term in reversed(terms):
        if slope:
            next_re = torch.addcmul(p_re, d_re, x, out=re).addcmul_(d_im, y, value=-1)
            next_im = torch.addcmul(p_im, d_im, x, out=im).addcmul_(d_re, y)
            d_re, d_im, re, im = next_re, next_im, buffer(d_re), buffer(d_im)
        next_re = torch.addcmul(_sum(term, order), p_re, x, out=re).addcmul_(p_im, y, value=-1)
        next_im = torch.mul(p_im, x, out=im).addcmul_(p_re, y)
        if imaginary:
            next_im.add_(_sum(imaginary.pop(), order))
        p_re, p_im, re, im = next_re, next_im, buffer(p_re), buffer(p_im)
    return (p_re, p_im, d_re, d_im) if slope else (p_re, p_im)


def _spread(
    for_c: Tensor, for_e: Tensor | None, x: Tensor, y: Tensor, g_re: Tensor, g_im: Tensor, order: Order
) -> None:
    """Write the gradient of each coefficient, Re(conj(g) z^j) and -Im(conj(g) z^j), where it stood itself."""
    written = [for_c] if for_e is None else [for_c, for_e]
    if order != "backwards" and len(for_c) % 2:
        for one in written:
            one[len(for_c) // 2].zero_()
    a, b = g_re.clone(memory_format=torch.contiguous_format), -g_im
    re, im = torch.empty_like(a), torch.empty_like(a)
    for j, terms in enumerate(zip(*(_terms(one, order) for one in written), strict=True)):
        if j:
            torch.mul(a, x, out=re).addcmul_(b, y, value=-1)
            torch.mul(b, x, out=im).addcmul_(a, y)
            a, b, re, im = re, im, a, b
        terms[0].copy_(a)
        if for_e is not None:
            terms[1].copy_(b.neg())


def _terms(c_K: Tensor, order: Order) -> list[Tensor]:
    """The coefficients of each power of z, from the lowest: views of shape (1 or 2, ...)."""
    taps = len(c_K)
    if order == "backwards":
        return [c_K[k : k + 1] for k in reversed(range(taps))]
    ends = [(k, taps - 1 - k) for k in reversed(range(taps // 2))]
    return [c_K[first : last + 1 : last - first] for first, last in ends]


def _sum(term: Tensor, order: Order) -> Tensor:
    return term[:1] + term[1:] if order == "folded" else term
