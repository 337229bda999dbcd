"""Several processes that share what they gather, simulated by threads of one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aasp.pretrain.methods import Gather


def together(count: int, work: Callable[[int, Gather], Any]) -> list[Any]:
    """What `work(rank, gather)` returns for each rank; a gather's backward sums the gradients of all, as over gloo."""
    barrier, parts, found = threading.Barrier(count, timeout=20), [None] * count, [None] * count

    def exchange(rank: int, tensor: Tensor) -> list[Tensor]:
        parts[rank] = tensor.detach()  # type: ignore[call-overload]
        barrier.wait()
        everyone = list(parts)
        barrier.wait()
        return everyone  # type: ignore[return-value]

    def joined(rank: int) -> Gather:
        class Joined(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, tensor: Tensor) -> Tensor:
                return torch.cat(exchange(rank, tensor))

            @staticmethod
            def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
                return torch.stack(exchange(rank, gradient)).sum(0).chunk(count)[rank]

        return lambda tensor: (Joined.apply(tensor), rank * len(tensor))

    def run(rank: int) -> None:
        try:
            found[rank] = work(rank, joined(rank))
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
