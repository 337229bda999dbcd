"""Transfer of weights from another model: tensors that match by name and shape are copied, and the result listed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Transfer:
    """The result of loading tensors into a module, by name.

    Attributes:
        taken: copied tensors.
        new: tensors of the module only, which are not changed.
        unfit: tensors in both, in a layer whose shapes differ: (source shape, module shape).
        unused: tensors that the module does not have.
    """

    taken: tuple[str, ...]
    new: tuple[str, ...]
    unfit: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unused: tuple[str, ...]


def transfer(module: nn.Module, tensors: Mapping[str, Tensor]) -> Transfer:
    """Copy into a module the tensors that match its own by name and shape.

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
    """The fewest parts of a module that contain exactly these tensors, by dotted name.

    Args:
        names: names of the tensors.
        among: names of all tensors.
        above: the part to search, with a dot at its end; the whole module if omitted.
    """
    here = dict.fromkeys(name.removeprefix(above).partition(".")[0] for name in among if name.startswith(above))
    for part in here:
        within = [name for name in among if f"{name}.".startswith(f"{above}{part}.")]
        chosen = [name for name in within if name in names]
        if len(chosen) == len(within):
            yield above + part
        elif chosen:
            yield from grouped(names, within, f"{above}{part}.")
