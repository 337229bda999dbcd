"""Less memory for what the backward pass needs: a step in micro-batches, and blocks that are computed twice.

Source: gradient accumulation; activation checkpointing (Chen et al. 2016), a block at a time, by torch's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aasp.errors import AaspError

BLOCKS = "blocks"
"""What transformers, ours and others', call the list of their blocks."""


def recompute(module: nn.Module) -> None:
    """Let every block of a module keep its input alone, and compute the rest again in the backward pass.

    Random numbers are drawn again as they were. Weights, their names and the results stay what they are.
    """
    for block in blocks_of(module).values():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def blocks_of(module: nn.Module) -> dict[str, nn.Module]:
    """The blocks of the transformers inside a module that are trained, by path."""
    return {
        f"{name}.{number}": block
        for name, blocks in module.named_modules()
        if name.rpartition(".")[2] == BLOCKS and isinstance(blocks, nn.ModuleList)
        for number, block in enumerate(blocks)
        if any(parameter.requires_grad for parameter in block.parameters())
    }


def check_count(clips: int, count: int, processes: int = 1) -> None:
    """Check that the clips of a process can be dealt out to micro-batches.

    Raises:
        AaspError: they can't, evenly.
    """
    if clips % count:
        text = f"{clips} clips a process" if processes > 1 else f"{clips} clips a step"
        raise AaspError(f"optimizer.accumulate is {count}, for {text}; give a divisor of {clips}")


def micro_batches(batch: Mapping[str, Any], count: int) -> Iterator[Mapping[str, Any]]:
    """A batch in parts of equally many clips, in their order.

    Args:
        batch: tensors whose first dimension are the clips.
        count: of parts.
    """
    if count == 1:
        yield batch
        return
    parts = {name: value.chunk(count) for name, value in batch.items() if isinstance(value, Tensor)}
    for number in range(count):
        yield {name: part[number] for name, part in parts.items()}


def mean(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The output of an objective for a whole step: the mean of every number over micro-batches."""
    if len(outputs) == 1:
        return outputs[0]
    of = lambda values: sum(value.detach() for value in values) / len(outputs)
    groups = {
        name: {key: of([one[name][key] for one in outputs]) for key in outputs[0][name]}
        for name in ("losses", "diagnostics")
    }
    return {"loss": of([one["loss"] for one in outputs]), **groups}
