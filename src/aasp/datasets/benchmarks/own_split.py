"""Our own split of a set whose published split is not available: the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from aasp.datasets.benchmarks.files import draw


def part_of(group: str, shares: Mapping[str, float]) -> str:
    """The part that a speaker, preset … is in: by its name, so that further ones leave it where it is.

    Args:
        group: what must not be torn apart.
        shares: of each part, adding up to 1.
    """
    drawn = draw(group)
    parts, bounds = list(shares), accumulate(shares.values())
    return next((part for part, bound in zip(parts, bounds, strict=True) if drawn < bound), parts[-1])
