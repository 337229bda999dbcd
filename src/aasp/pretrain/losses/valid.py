"""The mean over what counts, in the clips of all processes.

Clips differ in length, and so do processes in how much of theirs counts: the mean of their means is not that of all.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Gather = Callable[[Tensor], tuple[Tensor, int]]
"""Joins a tensor over processes along its first dimension, differentiably, and says where in it this process's own
begins; its backward sums the gradients of all processes. For one process: itself, and 0."""


def alone(tensor: Tensor) -> tuple[Tensor, int]:
    """The gather of a single process."""
    return tensor, 0


def valid_mean(terms: Tensor, valid: Tensor, gather: Gather = alone) -> Tensor:
    """This process's part of a mean: the mean of all processes' parts is the mean over all that is valid.

    Args:
        terms: of any shape.
        valid: which of them are valid, boolean, of the same shape.
        gather: see `Gather`; for one process if omitted.
    """
    weight = valid.to(terms.dtype)
    counts, _ = gather(weight.sum()[None])
    return (terms * weight).sum() / counts.mean()
