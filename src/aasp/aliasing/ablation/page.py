"""The ablation as sections of the laboratory's page, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aasp.compare.units import Unit
from aasp.evaluate.intervals import clear, span
from aasp.report.page import Section
from aasp.report.style import FIRST, MUTED, RULE, drawn, panel

TITLE = "What each part brings"


def answer(found: Mapping[str, Any]) -> str:
    """What the first comparison comes to, and what it could not have seen; plain text."""
    asked = next((cell for cell in found["cells"][1:] if _leads(found, cell["name"])), None)
    if asked is None:
        return "The ablation has no two cells to compare yet."
    name, whole = asked["name"], found["cells"][0]["name"]
    found_it, rest = [], []
    units = {row["measure"]: Unit(row["metric"]) for row in found["rows"]}
    for measure, one in _leads(found, name).items():
        tell = units[measure].tell
        # The whole system's lead over the cell: what the part in question brings.
        lead = one["lead"]
        less, more = (None if lead[end] is None else -lead[end] for end in ("high", "low"))
        ends = span(less, more, tell, " to ")
        if clear(lead["low"], lead["high"]):
            found_it.append(f"{measure} {tell(-lead['estimate'])}{units[measure].name} ({ends})")
        else:
            rest.append(f"{measure} ({ends})")
    seeds, steps = found["seeds"], found["settings"].get("steps")
    said = f"In {seeds} trainings of {steps:,} steps each, {whole} against {name}: "
    said += f"{'; '.join(found_it)}" if found_it else "no clear difference anywhere"
    return said + (f"; no clear difference on {', '.join(rest)}." if rest and found_it else ".")


def section(found: Mapping[str, Any], folder: Path) -> list[Section]:
    """Forest plots of all differences to the whole system, what was asked, and every number."""
    names = [cell["name"] for cell in found["cells"] if cell["seeds"]]
    whole = found["cells"][0]["name"]
    panels = []
    for measure, rows in _by_measure(found).items():
        leads = {row["cell"]: _against(row, whole) for row in rows if row["cell"] != whole}
        shown = {name: lead["lead"] for name in names if (lead := leads.get(name))}
        if shown:
            values = [[lead[key] for key in ("estimate", "low", "high")] for lead in shown.values()]
            unit = Unit(rows[0]["metric"])
            points = unit.scale * np.array(values, dtype=float)
            panels.append(forest(list(shown), points, title=measure, what=unit.axis))
    told = Section(
        TITLE,
        f"""Every cell was trained alike, {found["settings"].get("steps"):,} steps from the same
        seeds, and differs from another in one thing. Differences are paired by seed and clip, and intervals draw both
        trainings and clusters of clips (recordings, speakers, instruments).""",
        panels,
        f"""Each cell minus <b>{escape(whole)}</b>. <b>Dot:</b> the difference. <b>Bar:</b> its
        95 % interval; coloured where it leaves out zero. Left of the line, what the cell lacks is worth having.""",
    )
    every = Section("Every cell", "What was asked of each, and what it scored.", [_table(found)], _caption(found))
    return [told, every]


@drawn
def forest(names: Sequence[str], points: np.ndarray, *, title: str, what: str) -> Figure:
    """Differences with their intervals, one under the other.

    Args:
        names: of the cells.
        points: difference, low and high of each, shape (cells, 3); NaN where there are no ends.
        title: of the panel.
        what: differences are of, with its unit.
    """
    figure, axes = panel(70 + 20 * len(names), title, "", left=122)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    for place, (middle, low, high) in enumerate(points):
        color = FIRST if low > 0 or high < 0 else MUTED
        axes.plot([low, high], [place, place], color=color, linewidth=1.6)
        axes.plot(middle, place, "o", color=color, markersize=5)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=what)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=RULE)
    axes.locator_params(axis="x", nbins=6)
    return figure


def _by_measure(found: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    out: dict[str, list[Mapping[str, Any]]] = {}
    for row in found["rows"]:
        out.setdefault(row["measure"], []).append(row)
    return out


def _against(row: Mapping[str, Any], other: str) -> Mapping[str, Any] | None:
    return next((one for one in row["differences"] if one["against"] == other), None)


def _leads(found: Mapping[str, Any], cell: str) -> dict[str, Mapping[str, Any]]:
    """By measure: the cell against the whole system."""
    whole = found["cells"][0]["name"]
    leads = {row["measure"]: _against(row, whole) for row in found["rows"] if row["cell"] == cell}
    return {measure: lead for measure, lead in leads.items() if lead}


def _table(found: Mapping[str, Any]) -> str:
    """A row for each measure and cell, all in one HTML table."""
    cells = {cell["name"]: cell for cell in found["cells"]}
    body = []
    for measure, rows in _by_measure(found).items():
        chance = rows[0]["chance"]
        unit = Unit(rows[0]["metric"])
        tell = unit.tell
        about = escape(unit.about) + (f"; a guess: {tell(chance, '')}" if chance else "")
        head = f"{escape(measure)}<small>{about}</small>"
        body.append(f'<tr><th class="task" colspan="3" scope="rowgroup">{head}</th></tr>')
        for row in rows:
            score = row["score"]
            ends = span(score["low"], score["high"], partial(tell, sign=""), " to ")
            leads = "<br>".join(
                f"against {escape(one['against'])}: {tell(one['lead']['estimate'])} "
                f"({span(one['lead']['low'], one['lead']['high'], tell, ' to ')}"
                + ("" if one["detectable"] is None else f"; could have seen {tell(one['detectable'], '')}")
                + ")"
                for one in row["differences"]
            )
            cell = cells[row["cell"]]
            body.append(
                f'<tr><th class="name" scope="row">{escape(row["cell"])}<small>{escape(cell["asks"])}</small></th>'
                f'<td class="number"><b>{tell(score["estimate"], "")}</b> <span>{ends}</span></td><td>{leads}</td></tr>'
            )
    return f"<table><tbody>{''.join(body)}</tbody></table>"


def _caption(found: Mapping[str, Any]) -> str:
    minutes = sum(cell["minutes"] for cell in found["cells"])
    return f"""<b>Could have seen:</b> the smallest true difference that so many trainings and clips would show four
    times in five. The trainings took {minutes:.0f} minutes in all."""
