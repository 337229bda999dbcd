"""Numbers as text for people, on the terminal and on pages: durations and percentages."""

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
    """A share as a percentage, without the sign %: 82.5; a dash if it was not measured.

    Args:
        share: as a fraction; None or NaN if there is none.
        digits: decimals.
        sign: "+" for differences, to print their sign.
    """
    return "–" if share is None or math.isnan(share) else f"{100 * share:{sign}.{digits}f}"
