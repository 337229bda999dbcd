"""The ablation on the laboratory's page, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from aasp.aliasing.figures import ends, intervals
from aasp.aliasing.text import plain
from aasp.compare.units import Unit
from aasp.evaluate.intervals import clear, span
from aasp.report.style import FIRST, MUTED
from aasp.report.templates import render

Json = Mapping[str, Any]


def answer(found: Json) -> str:
    """What the first comparison comes to, and what it could not have seen; plain text."""
    names = [cell["name"] for cell in found["cells"][1:]]
    cell = next((name for name in names if _leads(found, name)), None)
    different, alike = [], []
    for measure, (unit, lead) in _leads(found, cell).items() if cell else ():
        # The whole system's lead over the cell: what the part in question brings.
        less, more = (None if lead[end] is None else -lead[end] for end in ("high", "low"))
        between = span(less, more, unit.text, " to ")
        if clear(lead["low"], lead["high"]):
            different.append(f"{measure} {unit.text(-lead['estimate'])}{unit.name} ({between})")
        else:
            alike.append(f"{measure} ({between})")
    return plain("ablation", found=found, cell=cell, whole=_whole(found), different=different, alike=alike)


def section(found: Json, folder: Path) -> Markup:
    """Forest plots of all differences to the whole system, the question of each cell, and every number."""
    names = [cell["name"] for cell in found["cells"] if cell["seeds"]]
    panels = []
    for measure, rows in _by_measure(found).items():
        leads = {row["cell"]: _against(row, _whole(found)) for row in rows if row["cell"] != _whole(found)}
        shown = {name: lead for name in names if (lead := leads.get(name))}
        if shown:
            unit = Unit(rows[0]["metric"])
            points = unit.scale * np.array([ends(lead) for lead in shown.values()])
            colors = [FIRST if low > 0 or high < 0 else MUTED for _, low, high in points]
            series = [("", colors, points)]
            panels.append(intervals(list(shown), series, title=measure, label=unit.axis, marked=0))
    asks = {cell["name"]: cell["asks"] for cell in found["cells"]}
    values = {"found": found, "whole": _whole(found), "measures": _by_measure(found), "asks": asks, "unit": Unit}
    minutes = sum(cell["minutes"] for cell in found["cells"])
    return Markup(render("aliasing/ablation.html", figures=panels, minutes=minutes, clear=clear, **values))


def _whole(found: Json) -> str:
    return str(found["cells"][0]["name"])


def _by_measure(found: Json) -> dict[str, list[Json]]:
    out: dict[str, list[Json]] = {}
    for row in found["rows"]:
        out.setdefault(row["measure"], []).append(row)
    return out


def _against(row: Json, other: str) -> Json | None:
    return next((one["lead"] for one in row["differences"] if one["against"] == other), None)


def _leads(found: Json, cell: str) -> dict[str, tuple[Unit, Json]]:
    """By measure: its unit, and the cell against the whole system."""
    leads = {
        row["measure"]: (Unit(row["metric"]), _against(row, _whole(found)))
        for row in found["rows"]
        if row["cell"] == cell
    }
    return {measure: (unit, lead) for measure, (unit, lead) in leads.items() if lead}
