"""Peak speed of the machine: the rate of a step's own matrix products, each timed alone.

The products of one step are recorded with their shapes; each shape is then timed alone in each precision. The peak is
the total FLOPs over the total seconds: time-weighted, since a slow shape counts more.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from harness import synchronise

Product = tuple[tuple[int, ...], tuple[int, ...]]  # the shapes of the two factors
PRODUCTS = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.baddbmm.default: (1, 2),
}


class Products(TorchDispatchMode):
    """Counts the matrix products computed inside it, by the shapes of their factors."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Product] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in PRODUCTS:
            first, second = PRODUCTS[function]
            self.counts[tuple(args[first].shape), tuple(args[second].shape)] += 1
        return function(*args, **(kwargs or {}))


def products_of(step: Callable[[], object]) -> Counter[Product]:
    """The products of one step; attention counts as its two products."""
    with sdpa_kernel(SDPBackend.MATH), Products() as seen:
        step()
    return seen.counts


def flops(product: Product) -> int:
    """Two per multiply-add."""
    (*batch, rows, inner), (*_, columns) = product
    return 2 * rows * inner * columns * (batch[0] if batch else 1)


def seconds_of(products: Counter[Product], dtype: torch.dtype, device: torch.device) -> float:
    """Seconds that these products take in one precision, each shape timed alone, with its operands in memory."""
    seconds = 0.0
    for (left, right), count in products.items():
        a, b = torch.randn(left, device=device).to(dtype), torch.randn(right, device=device).to(dtype)
        a @ b
        synchronise()
        began, runs = time.perf_counter(), 0
        while runs == 0 or time.perf_counter() - began < 1e-3:
            a @ b
            synchronise()
            runs += 1
        seconds += count * (time.perf_counter() - began) / runs
    return seconds
