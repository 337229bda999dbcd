"""A number over clips with its interval, as JSON has it.

Legend: n clips. Source: ours; the intervals are the project's (`aasp.evaluate.intervals`), clips drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aasp.evaluate.intervals import interval

Measured = Mapping[str, float | None]
"""Estimate, and the low and high end of its 95 % interval: both None where there is but one clip to draw from."""
LEAST = "<0.01"


def over_clips(values_n: np.ndarray, minus: np.ndarray | None = None) -> Measured:
    """Mean of a value a clip, or of the paired difference of two."""
    if len(values_n) < 2:
        return _alone(float(values_n[0] - (0 if minus is None else minus[0])))
    found = interval(values_n, minus=minus)
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def of_weights(statistic: Callable[[np.ndarray], float], clips: int) -> Measured:
    """A statistic that isn't a mean over clips, as a function of how often each counts, (n,)."""
    if clips < 2:
        return _alone(statistic(np.ones(clips)))
    found = interval([statistic], clusters=np.arange(clips))
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def percent(found: Measured) -> str:
    """12.3 % (11.0 to 14.1), the estimate alone where there is no interval; below one, two digits that tell."""
    low, high = found["low"], found["high"]
    alone = f"{number(found['estimate'] or 0)} %"
    if low is None or high is None:
        return alone
    told = number(low), number(high)
    return alone if set(told) == {LEAST} else f"{alone} ({told[0]} to {told[1]})"


def number(share: float) -> str:
    """A share in per cent: 12.3, 0.042, <0.01, 0."""
    value = 100 * share
    if 0 < value < 0.01:
        return LEAST
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def _alone(value: float) -> Measured:
    return {"estimate": value, "low": None, "high": None}
