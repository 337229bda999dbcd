"""Windows times the two parts of a linear chirp.

Legend: K taps, m their offset from the chirp's middle, g its rate.

    c_m = v_m cos(g m^2 / 2),   s_m = v_m sin(g m^2 / 2)

Source: ours. Taps come first in memory, as `polynomials` likes it, and both derivatives are made of what the values
were: automatic ones take twice the passes over all taps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aasp.tracing import is_exported


def times_chirp(v: Tensor, rate: Tensor, middle: float) -> tuple[Tensor, Tensor]:
    """Windows (..., K) times the cosine and the sine of a chirp.

    Args:
        v: the windows.
        rate: g in radians per tap squared, shape (...).
        middle: tap at which the chirp's frequency is zero.

    Returns:
        c and s, each (..., K). Their gradient cannot be differentiated again.
    """
    offset_K = torch.arange(v.shape[-1], dtype=v.dtype, device=v.device) - middle
    phase_K = (0.5 * offset_K.square()).reshape(-1, *[1] * rate.dim())
    v_K = v.movedim(-1, 0)
    if is_exported():  # what is traced may be differentiated later
        angle_K = phase_K * rate
        parts = v_K * torch.cos(angle_K), v_K * torch.sin(angle_K)
    else:
        parts = _Chirp.apply(v_K, rate, phase_K)
    return parts[0].movedim(0, -1), parts[1].movedim(0, -1)


class _Chirp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v_K: Tensor, rate: Tensor, phase_K: Tensor) -> tuple[Tensor, Tensor]:
        angle_K = phase_K * rate
        cos_K, sin_K = torch.cos(angle_K), torch.sin(angle_K)
        ctx.save_for_backward(v_K, phase_K, cos_K, sin_K)
        return v_K * cos_K, v_K * sin_K

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_c: Tensor, for_s: Tensor) -> tuple[Tensor | None, ...]:
        v_K, phase_K, cos_K, sin_K = ctx.saved_tensors
        for_v = (for_c * cos_K).addcmul_(for_s, sin_K)
        for_angle = (for_s * cos_K).addcmul_(for_c, sin_K, value=-1).mul_(v_K)
        return for_v, for_angle.mul_(phase_K).sum(0), None
