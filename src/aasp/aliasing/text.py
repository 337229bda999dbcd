"""Numbers with their intervals as text for the laboratory, and plain text from templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aasp.evaluate.intervals import span
from aasp.formats import percent_text
from aasp.report.templates import render

Interval = Mapping[str, Any]
"""As in JSON: estimate, low and high; no ends if there are too few clips."""


def with_interval(found: Interval | None, form: Callable[[float], str], unit: str = "") -> str:
    """`0.82 [0.78, 0.86]`, each number formatted by `form`; a dash if it is undefined."""
    if found is None:
        return "–"
    return f"{form(found['estimate'])}{unit} [{span(found['low'], found['high'], form)}]"


def decimal(digits: int, sign: str = "") -> Callable[[float], str]:
    """Formats numbers with the given decimals; with "+", for differences, also with their sign."""
    return lambda value: f"{value:{sign}.{digits}f}".replace("-", "−")


def percent(digits: int = 0, sign: str = "") -> Callable[[float | None], str]:
    """Formats shares as percentages."""
    return lambda share: percent_text(share, digits, sign).replace("-", "−")


def plain(name: str, **values: Any) -> str:
    """A template as one paragraph of plain text."""
    return " ".join(render(f"aliasing/{name}.txt", **values).split())
