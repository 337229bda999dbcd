"""The mean over valid terms in the clips of all processes.

Clips differ in length, so processes differ in their number of valid terms: the mean of their means is not the overall
mean.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Gather = Callable[[Tensor], tuple[Tensor, int]]
"""Concatenates a tensor over processes along its first dimension, differentiably, and returns the offset of this
process's part; its backward sums the gradients of all processes. For one process: the tensor itself, and 0."""


def alone(tensor: Tensor) -> tuple[Tensor, int]:
    """The gather of a single process."""
    return tensor, 0


def valid_mean(terms: Tensor, valid: Tensor, gather: Gather = alone) -> Tensor:
    """This process's part of a mean: the mean of all processes' parts is the mean over all valid terms,
    or 0 if there are none.

    Args:
        terms: tensor of any shape.
        valid: which terms are valid, boolean, of the same shape.
        gather: see `Gather`; for one process if omitted.
    """
    weight = valid.to(terms.dtype)
    counts, _ = gather(weight.sum()[None])
    return (terms * weight).sum() / counts.mean().clamp(min=1e-9)
