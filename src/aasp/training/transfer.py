"""Weights taken from elsewhere: what fits by name and shape is copied, and what was done is summarised."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Transfer:
    """The result of loading tensors into a module, by name.

    Attributes:
        taken: copied.
        new: of the module only; they stay what they were.
        unfit: of both, but of a layer that has another shape: (there, here).
        unused: not of the module.
    """

    taken: tuple[str, ...]
    new: tuple[str, ...]
    unfit: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unused: tuple[str, ...]


def transfer(module: nn.Module, tensors: Mapping[str, Tensor]) -> Transfer:
    """Copy into a module the tensors that it has by the same name and in the same shape.

    A layer's tensors (a weight and its bias) are copied together or not at all.
    """
    own = module.state_dict()
    layer = lambda name: name.rpartition(".")[0]
    shapes = {name: (tuple(tensors[name].shape), tuple(own[name].shape)) for name in own if name in tensors}
    other = {layer(name) for name, (there, here) in shapes.items() if there != here}
    unfit = {name: both for name, both in shapes.items() if layer(name) in other}
    taken = [name for name in own if name in tensors and name not in unfit]
    with torch.no_grad():
        for name in taken:
            own[name].copy_(tensors[name])
    new, unused = [name for name in own if name not in tensors], [name for name in tensors if name not in own]
    return Transfer(tuple(taken), tuple(new), unfit, tuple(unused))


def grouped(names: Collection[str], among: Collection[str], above: str = "") -> Iterator[str]:
    """The fewest parts that hold these tensors of a module and no others, by dotted name.

    Args:
        names: of the tensors.
        among: names of all tensors.
        above: the part in which to look, with a dot at its end; everywhere if omitted.
    """
    here = dict.fromkeys(name.removeprefix(above).partition(".")[0] for name in among if name.startswith(above))
    for part in here:
        within = [name for name in among if f"{name}.".startswith(f"{above}{part}.")]
        chosen = [name for name in within if name in names]
        if len(chosen) == len(within):
            yield above + part
        elif chosen:
            yield from grouped(names, within, f"{above}{part}.")
