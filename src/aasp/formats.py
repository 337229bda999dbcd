"""Numbers as people read them: durations and per cent, on the terminal and on pages alike."""

from __future__ import annotations

import math


def duration_text(seconds: float) -> str:
    """A duration: 3.2 s, 12 min 5 s, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def percent_text(share: float | None, digits: int = 1, sign: str = "") -> str:
    """A share in per cent, without the unit: 82.5; a dash for what was not measured.

    Args:
        share: of 1; None or NaN where there is none.
        digits: after the point.
        sign: "+" for differences, which then have their sign.
    """
    return "–" if share is None or math.isnan(share) else f"{100 * share:{sign}.{digits}f}"
