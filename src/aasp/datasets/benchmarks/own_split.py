"""Our own split of a set whose published split is not available: the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from aasp.datasets.benchmarks.files import draw


def part_of(group: str, shares: Mapping[str, float]) -> str:
    """The part of a group (a speaker, a preset …), computed from its name, so that it is independent of other groups.

    Args:
        group: name of the group, which must be in a single part.
        shares: share of each part; they add up to 1.
    """
    drawn = draw(group)
    parts, bounds = list(shares), accumulate(shares.values())
    return next((part for part, bound in zip(parts, bounds, strict=True) if drawn < bound), parts[-1])
