"""Less activation memory: gradient accumulation over micro-batches, and activation checkpointing of blocks.

Source: activation checkpointing (Chen et al. 2016), one block at a time, with `torch.utils.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aasp.errors import AaspError

BLOCKS = ("blocks", "estimator")
"""Attribute names of the list of blocks in transformers, ours and others', and in the tokenizer of BEATs."""


def recompute(module: nn.Module) -> None:
    """Make every block of a module store only its input, and recompute its activations in the backward pass.

    The recomputation draws the same random numbers. Weights, their names and the results do not change.
    """
    for block in blocks_of(module).values():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def blocks_of(module: nn.Module) -> dict[str, nn.Module]:
    """The blocks with trainable parameters in the transformers inside a module, by path."""
    return {
        f"{name}.{number}": block
        for name, blocks in module.named_modules()
        if name.rpartition(".")[2] in BLOCKS and isinstance(blocks, nn.ModuleList)
        for number, block in enumerate(blocks)
        if any(parameter.requires_grad for parameter in block.parameters())
    }


def check_count(clips: int, count: int, processes: int = 1) -> None:
    """Check that the clips of a process divide evenly into micro-batches.

    Raises:
        AaspError: they do not.
    """
    if clips % count:
        text = f"{clips} clips a process" if processes > 1 else f"{clips} clips a step"
        raise AaspError(f"optimizer.accumulate is {count}, for {text}; give a divisor of {clips}")


def micro_batches(batch: Mapping[str, Any], count: int) -> Iterator[Mapping[str, Any]]:
    """Split a batch into parts of equally many clips, in order.

    Args:
        batch: tensors whose first dimension is the clips.
        count: number of parts.
    """
    if count == 1:
        yield batch
        return
    parts = {name: value.chunk(count) for name, value in batch.items() if isinstance(value, Tensor)}
    for number in range(count):
        yield {name: part[number] for name, part in parts.items()}


def mean(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The output of an objective for a whole step: the mean of every scalar over its micro-batches."""
    if len(outputs) == 1:
        return outputs[0]
    of = lambda values: sum(value.detach() for value in values) / len(outputs)
    groups = {
        name: {key: of([one[name][key] for one in outputs]) for key in outputs[0][name]}
        for name in ("losses", "diagnostics")
    }
    return {"loss": of([one["loss"] for one in outputs]), **groups}
