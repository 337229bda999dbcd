"""Run a pointwise function in pieces that fit into the cache, and recompute it for its gradient.

Source: gradient checkpointing (Chen et al. 2016), by piece: no full-size intermediate is kept, or even computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from aasp.tracing import is_traced

Parts = tuple[Tensor, ...]
Pointwise = Callable[..., Parts]

POINTS = {"cpu": 1 << 15, "elsewhere": 1 << 20}
"""Points per piece. On CPUs a few dozen tensors of this size fit into the caches; elsewhere launches dominate."""


def in_pieces(function: Pointwise, outputs: int, *tensors: Tensor) -> Parts:
    """Call a function whose value at each point depends only on that point of its arguments.

    Args:
        function: maps tensors of shape (*points, ...) to `outputs` tensors of shape (*points).
        outputs: number of outputs.
        tensors: the first of shape (*points), the others (*points, ...), all of one dtype.

    Returns:
        The function's outputs for all points. Double backward raises an error.
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors) and not is_traced():
        return _Recomputed.apply(function, outputs, *tensors)
    return run(function, outputs, tensors)


def run(function: Pointwise, outputs: int, tensors: Sequence[Tensor]) -> Parts:
    """The same without a gradient."""
    if is_traced():
        return function(*tensors)  # compilers fuse it themselves, and a graph should not contain current sizes
    results = tuple(torch.empty_like(tensors[0], memory_format=torch.contiguous_format) for _ in range(outputs))
    for piece, into in zip(cut(tensors[0], tensors), cut(tensors[0], results), strict=True):
        for result, part in zip(into, function(*piece), strict=True):
            result.copy_(part)
    return results


def cut(points: Tensor, tensors: Sequence[Tensor]) -> Iterable[Parts]:
    """Views of all tensors, split at the same places along the longest dimension of the points."""
    most = POINTS.get(points.device.type, POINTS["elsewhere"])
    if is_traced() or points.numel() <= most:
        return [tuple(tensors)]
    dim = max(range(points.dim()), key=lambda dim: points.shape[dim])
    size = max(1, most * points.shape[dim] // points.numel())
    return zip(*(tensor.split(size, dim) for tensor in tensors), strict=True)


def dense(like: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
    """An empty tensor without overlaps whose dimensions have the memory order of the given strides.

    While a graph is traced it is contiguous, since symbolic sizes can't be ordered.
    """
    if is_traced():
        return like.new_empty(shape)
    order = sorted(range(len(shape)), key=lambda dim: strides[dim], reverse=True)
    return torch.empty_permuted(shape, order, dtype=like.dtype, device=like.device)


def refuse_second_derivative() -> None:
    """Raise in a differentiated backward pass; PyTorch's once_differentiable treats some such gradients as constants.

    Raises:
        RuntimeError: in such a pass; the message gives the option to leave out.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("the SBLU's gradient cannot be differentiated again: leave out create_graph=True")


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Pointwise, outputs: int, *tensors: Tensor) -> Parts:
        ctx.save_for_backward(*tensors)
        ctx.function = function
        return run(function, outputs, tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        refuse_second_derivative()
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
        results = [dense(x, x.shape, x.stride()) for x, need in zip(tensors, needed, strict=True) if need]
        for piece, output, into in zip(*(cut(tensors[0], x) for x in (tensors, gradients, results)), strict=True):
            inputs = [part.detach().requires_grad_(need) for part, need in zip(piece, needed, strict=True)]
            with torch.enable_grad():
                value = ctx.function(*inputs)
            of = [part for part in inputs if part.requires_grad]
            found = torch.autograd.grad(value, of, output, allow_unused=True, materialize_grads=True)
            for result, gradient in zip(into, found, strict=True):
                result.copy_(gradient)
        remaining = iter(results)
        return None, None, *(next(remaining) if need else None for need in needed)
