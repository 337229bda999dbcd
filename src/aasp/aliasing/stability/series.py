"""What figures draw of `stability.json`: curves over rows, and intervals.

Legend: K points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aasp.aliasing.stability.figures import Bar, Curve, color
from aasp.report.style import FIRST, SECOND

Json = Mapping[str, Any]


def curves(found: Json, rows: Sequence[Json], x: np.ndarray, measure: str, control: str | None) -> list[Curve]:
    """A curve of each model over rows, and its control's."""
    made = []
    for number, model in enumerate(found["models"]):
        of = lambda name, model=model: [model["rows"][row["key"]][name] for row in rows]
        made.append(curve(model["name"], x, of(measure), color(number)))
        if control is not None:
            made.append(curve("", x, of(control), color(number), control=True))
    return made


def depths(found: Json, model: Json) -> list[Curve]:
    """Distance over strength: of the control, and of the rates that were tried at several depths."""
    deeper = dict.fromkeys(row["settings"]["rate_hz"] for row in found["rows"] if row["family"] == "AM depth")
    highest = max(row["settings"]["decibel"] for row in found["rows"] if row["family"] == "AM depth")
    sets: list[tuple[str, str, float | None, str]] = [("", "SlowModulation", None, FIRST)]
    for hertz, tone in zip(deeper, (FIRST, SECOND), strict=True):
        sets.append((f"{hertz:g} Hz", "AmplitudeModulation", hertz, tone))
    made = []
    for name, kind, hertz, tone in sets:
        rows = [
            row
            for row in found["rows"]
            if row["kind"] == kind
            and row["settings"]["decibel"] <= highest
            and hertz in (None, row["settings"].get("rate_hz"))
        ]
        rows.sort(key=lambda row: row["settings"]["decibel"])
        x = np.array([row["settings"]["decibel"] for row in rows])
        told = [model["rows"][row["key"]]["distance"] for row in rows]
        made.append(curve(name, x, told, tone, control=hertz is None))
    return made


def curve(name: str, x: np.ndarray, told: Sequence[Json | None], tone: str, control: bool = False) -> Curve:
    """A curve at x (K,); None where it has no value."""
    values = [[None] * 3 if t is None else [t[k] for k in ("estimate", "low", "high")] for t in told]
    estimate, low, high = np.array(values, dtype=float).T  # None becomes NaN
    return Curve(name, x, estimate, low, high, tone, control)


def bar(told: Json | None) -> Bar:
    """An interval, None where there is none."""
    values = [None] * 3 if told is None else [told[key] for key in ("estimate", "low", "high")]
    return Bar(*np.array(values, dtype=float))
