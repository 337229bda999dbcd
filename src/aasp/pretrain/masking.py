"""Masks: which patches of a clip a view shows, and which of the others are predicted.

Legend: B clips, V views, G x F grid, N = G * F patches, n visible and m hidden patches per view.
Source: inverse block masking from EAT (blocks are kept, not hidden), clusters from SSAST; exact counts by ranking are
ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.config import check_range
from aasp.devices import copied
from aasp.errors import AaspError
from aasp.fields import formerly


@dataclass(frozen=True)
class MaskingConfig:
    """Masked views of a clip.

    Attributes:
        views: number V of masked views per clip.
        keep_ratio: share of a clip's patches that are visible in a view.
        scheme: "inverse-block" keeps random square blocks, "random" single patches, "structured" whole time columns or
            whole subbands, chosen at random for each view; "clustered" hides random square blocks, as in SSAST, "spans"
            spans of time columns.
        block: side of a kept block, or length of a hidden span, in patches; the side of a hidden block is drawn for
            each view from `block` - 1 to `block` + 1.
        block_overlap: share of patches that blocks may cover beyond `keep_ratio`, since they overlap (EAT's 0.07).
        predicted: share of the hidden patches that are predicted; the loss on a random part is an unbiased estimate.
    """

    views: int = 4
    keep_ratio: float = formerly("visible", 0.2)
    scheme: str = "inverse-block"
    block: int = 5
    block_overlap: float = formerly("surplus", 0.07)
    predicted: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "masking", "views block", least=1)
        check_range(self, "masking", "block_overlap", least=0, most=1)
        if self.scheme not in SCHEMES:
            raise AaspError(f"masking: scheme {self.scheme!r} is not one of {', '.join(SCHEMES)}")
        for name in ("keep_ratio", "predicted"):
            if not 0 < getattr(self, name) <= 1:
                raise AaspError(f"masking: {name} is {getattr(self, name)}; give a share above 0, up to 1")

    def code_modules(self) -> tuple[str, ...]:
        """The module of the scheme, which may be a user's."""
        return (SCHEMES[self.scheme].__module__,)


@dataclass
class Masks:
    """Indices of patches, padded to the longest clip. The hidden patches are the complement of the visible ones.

    Attributes:
        visible: visible patches of each view, shape (B, V, n).
        visible_valid: which of them are valid, boolean, shape (B, V, n).
        hidden: hidden patches to predict, shape (B, V, m): all of them if `predicted` is 1.
        hidden_valid: which of them are valid, boolean, shape (B, V, m).
    """

    visible: Tensor
    visible_valid: Tensor
    hidden: Tensor
    hidden_valid: Tensor

    def to(self, device: torch.device) -> Masks:
        """The masks on another device."""
        return Masks(*(copied(x, device) for x in vars(self).values()))


def draw_masks(config: MaskingConfig, grid: tuple[int, int], columns_B: Tensor) -> Masks:
    """Draw masks for a batch, on the host and without a loop over clips.

    In every view of a clip, `round(keep_ratio * patches)` of the clip's own patches are visible, at least one and at
    most all but one.

    Args:
        config: how to mask.
        grid: (G, F) of the padded batch.
        columns_B: time patches that belong to each clip, shape (B,), on the host.
    """
    columns, subbands = grid
    shape = (len(columns_B), config.views, columns, subbands)
    belongs = (torch.arange(columns) < columns_B[:, None])[:, None, :, None].expand(shape)
    rank = SCHEMES[config.scheme](config, shape, columns_B) + torch.rand(shape)
    rank = rank.masked_fill(~belongs, -torch.inf).flatten(2)
    patches_B = columns_B * subbands
    visible_B = (config.keep_ratio * patches_B).round().long().clamp(min=1)
    visible_B = torch.minimum(visible_B, (patches_B - 1).clamp(min=1))
    rest_B = patches_B - visible_B  # none of a clip of one patch
    hidden_B = torch.minimum((config.predicted * rest_B).round().long().clamp(min=1), rest_B)
    visible = rank.argsort(dim=-1, descending=True)[..., : int(visible_B.max())]
    visible_valid = (torch.arange(visible.shape[-1]) < visible_B[:, None])[:, None].expand_as(visible)
    # A separate random rank for hidden patches: with the first one, patches inside blocks would be preferred.
    seen = torch.zeros(rank.shape, dtype=torch.bool).scatter(2, visible, visible_valid)
    hidden_rank = torch.rand(rank.shape).masked_fill(seen | ~belongs.flatten(2), -1.0)
    hidden = hidden_rank.argsort(dim=-1, descending=True)[..., : max(int(hidden_B.max()), 1)]
    hidden_valid = (torch.arange(hidden.shape[-1]) < hidden_B[:, None])[:, None].expand_as(hidden)
    return Masks(visible, visible_valid, hidden, hidden_valid)


# Integer scores of each scheme, shape (B, V, G, F): patches with higher scores are kept visible first.


def _random(config: MaskingConfig, shape: tuple[int, ...], columns_B: Tensor) -> Tensor:
    return torch.zeros(shape)


def _structured(config: MaskingConfig, shape: tuple[int, ...], columns_B: Tensor) -> Tensor:
    clips, views, columns, subbands = shape
    by_time = torch.rand(clips, views, columns, 1).argsort(2).argsort(2).expand(shape)
    by_subband = torch.rand(clips, views, 1, subbands).argsort(3).argsort(3).expand(shape)
    return torch.where(torch.rand(clips, views, 1, 1) < 0.5, by_time, by_subband).float()


def _spans(config: MaskingConfig, shape: tuple[int, ...], columns_B: Tensor) -> Tensor:
    """Spans start at random and may overlap; their number gives the expected hidden share (wav2vec 2.0's spans)."""
    clips, views, columns, _ = shape
    length = min(config.block, columns)
    spans_B = (-math.log(config.keep_ratio) * columns_B / length).round().long().clamp(min=1)
    count, room_B = int(spans_B.max()), (columns_B - length).clamp(min=0) + 1
    start = (torch.rand(clips, views, count, 1) * room_B[:, None, None, None]).long()
    column = torch.arange(columns)
    used = (torch.arange(count) < spans_B[:, None])[:, None, :, None]
    under = (column >= start) & (column < start + length) & used
    return (~under.any(2)).float()[..., None].expand(shape)


def _inverse_block(config: MaskingConfig, shape: tuple[int, ...], columns_B: Tensor) -> Tensor:
    """The centres of kept blocks lie anywhere, also at edges, which cut them. Source: EAT's code."""
    clips, views, columns, subbands = shape
    patches_B = columns_B * subbands
    blocks_B = (patches_B * (config.keep_ratio + config.block_overlap) / config.block**2).long().clamp(min=1)
    count = int(blocks_B.max())
    time = (torch.rand(clips, views, count) * columns_B[:, None, None]).long() - config.block // 2
    subband = torch.randint(subbands, (clips, views, count)) - config.block // 2
    within = lambda start, length: (
        (torch.arange(length) >= start[..., None]) & (torch.arange(length) < start[..., None] + config.block)
    )
    used = (torch.arange(count) < blocks_B[:, None])[:, None, :, None]
    rows = (within(time, columns) & used).float()
    return (rows.transpose(2, 3) @ within(subband, subbands).float()).clamp(max=1.0)


def _clustered(config: MaskingConfig, shape: tuple[int, ...], columns_B: Tensor) -> Tensor:
    """The later a cluster hides a patch, the more likely the patch stays visible."""
    clips, views, columns, subbands = shape
    count = -(-3 * columns * subbands // config.block**2)  # three times the grid; patches in no cluster rank first
    side = torch.randint(max(config.block - 1, 1), config.block + 2, (clips, views, 1))
    time = (torch.rand(clips, views, count) * columns_B[:, None, None]).long()
    subband = torch.randint(subbands, (clips, views, count))
    within = lambda start, length: (
        (torch.arange(length) >= start[..., None]) & (torch.arange(length) < (start + side)[..., None])
    )
    order = torch.arange(count, dtype=torch.float32)[:, None, None]
    hidden = within(time, columns)[..., None] & within(subband, subbands)[..., None, :]  # (B, V, clusters, G, F)
    return torch.where(hidden, order, float(count)).amin(2)


Scheme = Callable[[MaskingConfig, tuple[int, ...], Tensor], Tensor]
SCHEMES: dict[str, Scheme] = {
    "inverse-block": _inverse_block,
    "random": _random,
    "structured": _structured,
    "spans": _spans,
    "clustered": _clustered,
}
