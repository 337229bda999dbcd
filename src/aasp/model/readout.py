"""One vector a clip out of an encoder's layers: which layers, each pooled how, side by side, and whitened or not.

Used everywhere: `AudioEncoder`, probes, `aasp embed` and exports read vectors through it.

Legend: B clips, G time patches x F subbands, N = G * F patch tokens, D width, V the parts' widths together, W whitened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from aasp.casting import widened
from aasp.errors import AaspError, shown
from aasp.model.pooling import WAYS, pool, pooled_width

Key = tuple[int, str]
"""(layer, pooling): layer 0 is the input of the first block, layer `depth` the normalised output."""


def key(text: str) -> Key:
    """A part of a vector as configurations write it, "4:mean+std".

    Raises:
        AaspError: it is not written so.
    """
    layer, colon, pooling = text.partition(":")
    if not colon or not layer.isdecimal() or len(layer) > 9:
        raise AaspError(f"vector: {shown(text)} is no LAYER:POOLING; write it as in 4:mean+std")
    return int(layer), pooling


def check_keys(keys: Sequence[Key], depth: int) -> None:
    """Check that an encoder of so many blocks has these layers, and that there are such poolings.

    Raises:
        AaspError: one is not there; or the class token of layer 0 is requested, which is the same for every clip.
    """
    for layer, pooling in keys:
        if pooling not in WAYS:
            raise AaspError(f"no such pooling: {pooling}; choose from {', '.join(WAYS)}")
        if not 0 <= layer <= depth:
            raise AaspError(f"no such layer: {layer}; this encoder has 0 to {depth}")
        if (layer, pooling) == (0, "cls"):
            raise AaspError("the class token of layer 0 is the same for every clip; choose another layer or pooling")


def check_vector(vector: Sequence[str], depth: int) -> None:
    """Check that an encoder of so many blocks has what the vector of its configuration is made of.

    Raises:
        AaspError: as `key` and `check_keys`; of a layer that is not there the message names the setting.
    """
    keys = [key(part) for part in vector]
    if absent := [part for part, (layer, _) in zip(vector, keys, strict=True) if layer > depth]:
        remedy = f"set model.vector too, as in model.vector={depth}:mean, or to none"
        raise AaspError(f"vector: {shown(absent[0])} is no layer of this encoder, which has 0 to {depth}; {remedy}")
    check_keys(keys, depth)


def read(
    stages: Sequence[tuple[Tensor, Tensor]], valid_BG: Tensor, keys: Sequence[Key], depth: int, subbands: int
) -> Tensor:
    """Pooled layers side by side, shape (B, V).

    Args:
        stages: (tokens (B, N, D), class token (B, D)) of every layer, or of the last alone where no other is read.
        valid_BG: time patches that belong to each clip, boolean, shape (B, G).
        keys: what to read.
        depth: the encoder's blocks: the last stage is that layer.
        subbands: F.
    """
    parts = [pool(*stages[layer - depth - 1], subbands, valid_BG, pooling) for layer, pooling in keys]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def width(keys: Sequence[Key], token_width: int, subbands: int) -> int:
    """V, the width of what `read` returns."""
    return sum(pooled_width(pooling, token_width, subbands) for _, pooling in keys)


class Whitening(nn.Module):
    """An affine map of vectors, `(x - mean) @ matrix.T`, whose two tensors are weights of the model that nobody trains.

    They keep the precision they came in, at least fp32, whatever the model is cast to: rounded, they would turn every
    vector.

    Args:
        given: V, the width of what comes in.
        made: W, the width of what goes out; at the start its first W dimensions.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(given))
        self.register_buffer("matrix", torch.eye(made, given))

    def forward(self, vector_BV: Tensor) -> Tensor:
        return (widened(vector_BV) - self.mean) @ self.matrix.T

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        for name, tensor in before.items():
            moved = self.get_buffer(name)
            if not tensor.is_meta:
                kept = torch.promote_types(moved.dtype, torch.float32)
                setattr(self, name, tensor.to(moved.device, kept))
        return self
