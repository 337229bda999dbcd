"""The ablation section of the laboratory's page, drawn from its JSON alone."""

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
    """The result of the first comparison, and the effect it could not have detected, as plain text."""
    leads = _leads(found)
    cells = [cell["name"] for cell in found["cells"]]
    first = next((cell for cell in cells if any(cell in by_cell for by_cell in leads.values())), None)
    different, alike, trainings = [], [], set()
    for measure, by_cell in leads.items():
        if first in by_cell:
            unit, lead = _unit(found, measure), by_cell[first]
            trainings.add(lead.get("seeds", found["seeds"]))
            # The whole system's lead over the cell: the contribution of the part in question.
            less, more = (None if lead[end] is None else -lead[end] for end in ("high", "low"))
            between = span(less, more, unit.text, " to ")
            if clear(less, more):
                different.append(f"{measure} {unit.text(-lead['estimate'])}{unit.name} ({between})")
            else:
                alike.append(f"{measure} ({between})")
    seeds = min(trainings, default=0)
    return plain("ablation", found=found, seeds=seeds, cell=first, whole=cells[0], different=different, alike=alike)


def section(found: Json, folder: Path) -> Markup:
    """Forest plots of all differences from the whole system, the question of each cell, and every number."""
    panels = []
    for measure, by_cell in _leads(found).items():
        unit = _unit(found, measure)
        points = unit.scale * np.array([ends(lead) for lead in by_cell.values()])
        colors = [FIRST if low > 0 or high < 0 else MUTED for _, low, high in points]
        panels.append(intervals(list(by_cell), [("", colors, points)], title=measure, label=unit.axis, marked=0))
    measures: dict[str, list[Json]] = {}
    for row in found["rows"]:
        measures.setdefault(row["measure"], []).append(row)
    values = {
        "whole": found["cells"][0]["name"],
        "measures": measures,
        "asks": {cell["name"]: cell["asks"] for cell in found["cells"]},
        "minutes": sum(cell["minutes"] for cell in found["cells"]),
        "unit": Unit,
    }
    return Markup(render("aliasing/ablation.html", found=found, figures=panels, **values))


def _unit(found: Json, measure: str) -> Unit:
    return Unit(next(row["metric"] for row in found["rows"] if row["measure"] == measure))


def _leads(found: Json) -> dict[str, dict[str, Json]]:
    """By measure and cell: the cell minus the whole system."""
    whole = found["cells"][0]["name"]
    leads: dict[str, dict[str, Json]] = {}
    for row in found["rows"]:
        for one in row["differences"]:
            if one["against"] == whole:
                leads.setdefault(row["measure"], {})[row["cell"]] = one["lead"]
    return leads
