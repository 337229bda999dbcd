"""The transformer that all layouts share, tensor by tensor: class tokens, positions, blocks, patch convolution.

Legend: D width, G x F grid of patches, N = G * F, K frames x R mel bins of a kernel.
Source: ViT; each layout has its own names for the parts and its own order of patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.convert.published import Published
from aasp.errors import AaspError
from aasp.features import FrontEndConfig
from aasp.model.positions import sincos_positions

HEAD = 64
"""Width of an attention head in all published sizes (ViT-Tiny to Huge); no tensor shape gives it."""
ROUNDING = 1e-3
"""Tolerance for fixed positions: in files of fp16 trainings (EAT, SSLAM) they are up to 2.4e-4 off, and for 768 columns
in fp32 6e-5."""


@dataclass(frozen=True)
class Names:
    """A layout's names of the parts; `norm1` to `fc2` follow a block's own prefix.

    Attributes:
        qkv: one layer, or three.
        qkv_bias: whether these have biases.
        norm: normalises the last output, or the first input if blocks normalise after each sum.
        block: the prefix of a block's names, before its number.
    """

    class_token: str = "cls_token"
    positions: str = "pos_embed"
    patch: str = "patch_embed.proj"
    block: str = "blocks."
    norm1: str = "norm1"
    norm2: str = "norm2"
    qkv: tuple[str, ...] = ("attn.qkv",)
    qkv_bias: bool = True
    out: str = "attn.proj"
    fc1: str = "mlp.fc1"
    fc2: str = "mlp.fc2"
    norm: str = "norm"

    def under(self, prefix: str) -> Names:
        """The same names with a prefix."""
        own = {name: prefix + getattr(self, name) for name in ("class_token", "positions", "patch", "block", "norm")}
        return Names(**(self.__dict__ | own))


@dataclass(frozen=True)
class Sizes:
    """Sizes from tensor shapes, and the number of heads, which shapes don't give."""

    width: int
    depth: int
    heads: int
    mlp_ratio: float


def sizes(given: Published, names: Names, heads: int | None, width: int | None = None) -> Sizes:
    """Width, depth and other sizes of a checkpoint.

    Args:
        given: the checkpoint.
        names: the names of its layout.
        heads: number of attention heads, if neither one per 64 channels nor in the file's `config.json`.
        width: the class token's width if omitted.

    Raises:
        AaspError: a tensor is missing, or the heads do not divide the width.
    """
    if width is None:
        *_, width = given.shape(names.class_token, 3)
    depth = given.count(names.block, f".{names.norm1}.weight")
    if depth == 0:
        given.shape(f"{names.block}0.{names.norm1}.weight", 1)  # raises if it is missing
    hidden, _ = given.shape(f"{names.block}0.{names.fc1}.weight", 2)
    heads = given.settings.get("num_attention_heads", width // HEAD) if heads is None else heads
    if not isinstance(heads, int) or heads < 1 or width % heads:
        text = f"width {width} is not a multiple of {heads} heads"
        raise AaspError(f"{given.file}: {text}; give --heads, which no tensor says")
    return Sizes(width, depth, heads, hidden / width)


def patch_convolution(given: Published, names: Names, width: int, *, time_first: bool) -> tuple[Tensor, Tensor]:
    """Weight (D, K, R) and bias (D,) of the patch convolution.

    Args:
        given, names: as for `sizes`.
        width: D.
        time_first: kernels are (frames, mel bins); else (mel bins, frames).
    """
    weight = f"{names.patch}.weight"
    kernel = given.shape(weight, 4)[2:]
    taken = given.take(weight, width, 1, *kernel)[:, 0]
    return taken if time_first else taken.mT, given.take(f"{names.patch}.bias", width)


def table(tokens: Tensor, subbands: int, *, time_first: bool) -> Tensor:
    """Positions (N, D) of patches as a table (G, F, D).

    Args:
        tokens: the positions in the layout's order.
        subbands: F.
        time_first: the order is g * F + f; else f * G + g.
    """
    if time_first:
        return tokens.unflatten(0, (-1, subbands))
    return tokens.unflatten(0, (subbands, -1)).transpose(0, 1)


def columns_of(
    given: Published, name: str, patches: int, subbands: int, remedy: str = "name another layout with --as"
) -> int:
    """G for the given number of patches.

    Raises:
        AaspError: they do not form whole columns, or only one; the message ends with `remedy`.
    """
    if subbands < 1 or patches < 2 * subbands or patches % subbands:
        text = f"{name} has {patches} patches, not two or more columns of {subbands}"
        raise AaspError(f"{given.file}: {text}; {remedy}")
    return patches // subbands


def window_seconds(columns: int, frames: int, front: FrontEndConfig) -> float:
    """The longest window with positions: an even number of columns, since windows overlap by half."""
    return columns // 2 * 2 * frames / front.frame_rate


def blocks(given: Published, names: Names, size: Sizes) -> dict[str, Tensor]:
    """The tensors of the blocks and of the norm, by our encoder's names."""
    width, hidden = size.width, round(size.width * size.mlp_ratio)
    parts = len(names.qkv)
    found = _layer(given, names.norm, "norm", width)
    for n in range(size.depth):
        theirs, ours = f"{names.block}{n}.", f"blocks.{n}."
        for norm, name in (("norm1", names.norm1), ("norm2", names.norm2)):
            found |= _layer(given, theirs + name, ours + norm, width)
        for kind, shape in (("weight", (3 * width // parts, width)), ("bias", (3 * width // parts,))):
            own = [f"{theirs}{name}.{kind}" for name in names.qkv]
            none = kind == "bias" and not names.qkv_bias
            qkv = [torch.zeros(shape) if none else given.take(name, *shape) for name in own]
            found[f"{ours}attention.qkv.{kind}"] = torch.cat(qkv)
        found |= _layer(given, theirs + names.out, ours + "attention.out", width, width)
        found |= _layer(given, theirs + names.fc1, ours + "mlp.0", hidden, width)
        found |= _layer(given, theirs + names.fc2, ours + "mlp.2", width, hidden)
    return found


def _layer(given: Published, theirs: str, ours: str, *shape: int) -> dict[str, Tensor]:
    """A layer's weight of the given shape, and its bias."""
    weight, bias = given.take(f"{theirs}.weight", *shape), given.take(f"{theirs}.bias", shape[0])
    return {f"{ours}.weight": weight, f"{ours}.bias": bias}


def placed(tensors: dict[str, Tensor], table_GFD: Tensor) -> tuple[dict[str, Tensor], tuple[int, int] | None]:
    """An encoder's tensors with its positions, and their table's grid; None if they are our fixed ones.

    Fixed 2-D sine-cosine positions equal ours, possibly with their halves swapped: half of the channels encode time,
    the other half the subband, and their order is arbitrary. If the subband comes first, all channels between layers
    are permuted to our order: the model is the same, except that the two halves of every output vector are swapped. So
    clips of any length have positions, and our training can resume from these weights. Positions that the file holds
    in fp16 are replaced by exact ones.

    Args:
        tensors: all other tensors of the encoder and its head.
        table_GFD: the layout's positions.
    """
    columns, subbands, width = table_GFD.shape
    fixed = sincos_positions((columns, subbands), width).view_as(table_GFD)
    for order in (lambda x: x, _exchanged):
        if torch.allclose(order(table_GFD), fixed, rtol=0, atol=ROUNDING):
            return {name: _in_order(name, tensor, order) for name, tensor in tensors.items()}, None
    return tensors | {"encoder.positions": table_GFD}, (columns, subbands)


def _exchanged(x: Tensor) -> Tensor:
    """The two halves of the last dimension, swapped."""
    return torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1)


def _in_order(name: str, tensor: Tensor, order: Callable[[Tensor], Tensor]) -> Tensor:
    """A tensor with the channels between layers permuted; those within attention and MLP stay."""
    if name.endswith(("attention.qkv.bias", "mlp.0.bias", "head.bias")):
        return tensor
    if name.endswith(("attention.qkv.weight", "mlp.0.weight", "head.weight")) or tensor.dim() == 1:
        return order(tensor)
    return order(tensor.mT).mT
