"""One vector per clip from an encoder's layers: pooled layers, concatenated.

`AudioEncoder`, probes, `aasp embed` and exports all compute vectors with it.

Legend: B clips, G time patches x F subbands, N = G * F patch tokens, D width, V total width of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aasp.errors import AaspError, shown
from aasp.model.pooling import WAYS, pool, pooled_width

Key = tuple[int, str]
"""(layer, pooling): layer 0 is the input of the first block, layer `depth` the normalised output."""


def key(text: str) -> Key:
    """Parse a part of a vector in a configuration, such as "4:mean+std".

    Raises:
        AaspError: it has another form.
    """
    layer, colon, pooling = text.partition(":")
    if not colon or not layer.isdecimal() or len(layer) > 9:
        raise AaspError(f"vector: {shown(text)} is no LAYER:POOLING; write it as in 4:mean+std")
    return int(layer), pooling


def check_keys(keys: Sequence[Key], depth: int) -> None:
    """Check that an encoder of `depth` blocks has these layers, and that the poolings exist.

    Raises:
        AaspError: one does not exist; or the class token of layer 0 is requested, which is the same for every clip.
    """
    for layer, pooling in keys:
        if pooling not in WAYS:
            raise AaspError(f"no such pooling: {pooling}; choose from {', '.join(WAYS)}")
        if not 0 <= layer <= depth:
            raise AaspError(f"no such layer: {layer}; this encoder has 0 to {depth}")
        if (layer, pooling) == (0, "cls"):
            raise AaspError("the class token of layer 0 is the same for every clip; choose another layer or pooling")


def check_vector(vector: Sequence[str], depth: int) -> None:
    """Check that an encoder of `depth` blocks has the parts of its configuration's vector.

    Raises:
        AaspError: as in `key` and `check_keys`; for a missing layer the message names the setting.
    """
    keys = [key(part) for part in vector]
    if absent := [part for part, (layer, _) in zip(vector, keys, strict=True) if layer > depth]:
        remedy = f"set model.vector too, as in model.vector={depth}:mean, or to none"
        raise AaspError(f"vector: {shown(absent[0])} is no layer of this encoder, which has 0 to {depth}; {remedy}")
    check_keys(keys, depth)


def read(
    stages: Sequence[tuple[Tensor, Tensor]], valid_BG: Tensor, keys: Sequence[Key], depth: int, subbands: int
) -> Tensor:
    """Concatenated pooled layers, shape (B, V).

    Args:
        stages: (tokens (B, N, D), class token (B, D)) of all layers, or of the last only if no other is needed.
        valid_BG: time patches that belong to each clip, boolean, shape (B, G).
        keys: layers and poolings.
        depth: number of the encoder's blocks, the layer of the last stage.
        subbands: F.
    """
    parts = [pool(*stages[layer - depth - 1], subbands, valid_BG, pooling) for layer, pooling in keys]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def width(keys: Sequence[Key], token_width: int, subbands: int) -> int:
    """V, the width of the output of `read`."""
    return sum(pooled_width(pooling, token_width, subbands) for _, pooling in keys)
