"""A comparison as one self-contained page, rendered from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from aasp.compare.tables import at_all_stages, headlines, metric_of, questions, summary
from aasp.compare.units import Unit
from aasp.evaluate.intervals import clear, span
from aasp.report.style import CATEGORIES, MUTED, RULE, VARIABLES, drawn, panel
from aasp.report.templates import render

Found = Mapping[str, Any]
TITLE = "Which method learns most from the same budget?"
MARKERS, SIGNS = "osD^v", "●■◆▲▼"
AXES = {
    "step": ("Steps", "optimizer steps", 1.0),
    "seconds": ("Time", "minutes of training steps", 60.0),
    "flops": ("Operations", "TFLOPs", 1e12),
    "memory": ("Memory", "GB on a GPU", 1e9),
}
"""The x axes of the figures, by key in the JSON: title, label, and size of the unit in that of the JSON."""


def render_comparison(found: Found) -> str:
    """The page as HTML."""
    heads = headlines(found)
    return render(
        "compare/page.html",
        eyebrow="aasp compare",
        title=TITLE,
        answers=[answer(found, question) for question in heads],
        summary=summary(found),
        curves=[_curves(found, question) for question in heads],
        costs=_costs(found),
        numbers=[_numbers(found, question) for question in questions(found)],
        notes=[(name, note) for name, some in found["notes"].items() for note in some],
        failed=list(found["failed"].items()),
        facts={"Command": Markup("<code>{}</code>").format(found["command"]), "Software": found["software"]},
    )


def answer(found: Found, question: str) -> str:
    """The best recipe, what else is above it, and its lead over the others with intervals; plain text."""
    every = [row for row in found["rows"] if row["question"] == question and row["last"]]
    rows = [row for row in every if row["kind"] == "trained"]
    if not rows:
        return f"{question}: nothing is measured yet."
    best = max(rows, key=lambda row: row["score"]["estimate"])
    unit = Unit(best["metric"])
    score = best["score"]
    ends = span(score["low"], score["high"], lambda value: unit.text(value, ""), " to ")
    value = f"{unit.text(score['estimate'], '')} ({ends}; {unit.about})"
    said = f"{question[:1].upper()}{question[1:]}: {best['system']} is the highest of the recipes, {value}."
    above = [
        f"{row['system']} ({unit.text(row['score']['estimate'], '')})"
        for row in every if row["score"]["estimate"] > score["estimate"]
    ]  # fmt: skip
    said += f" Above it: {', '.join(above)}." if above else ""
    ahead: list[str] = []
    alike: list[str] = []
    for other, lead in _leads(found, question, best["system"]).items():
        ends = span(lead["low"], lead["high"], unit.text, " to ")
        (ahead if clear(lead["low"], lead["high"]) else alike).append(f"{other} ({ends})")
    if ahead:
        said += f" It differs clearly from {', '.join(ahead)}."
    return said + (f" It can't be distinguished from {', '.join(alike)}." if alike else "")


def _leads(found: Found, question: str, best: str) -> dict[str, dict[str, float | None]]:
    """The intervals of a system's leads over all systems it is paired with."""
    out = {}
    for pair in found["pairs"]:
        lead, other = pair["difference"]["lead"], pair["difference"]["against"]
        if pair["question"] != question or best not in (pair["system"], other):
            continue
        if pair["system"] == best:
            out[other] = {"low": lead["low"], "high": lead["high"]}
        else:
            less, more = (None if lead[end] is None else -lead[end] for end in ("high", "low"))
            out[pair["system"]] = {"low": less, "high": more}
    return out


def _curves(found: Found, question: str) -> dict[str, Any]:
    """Quality against each cost, and the legend of the curves: colour, sign and name."""
    rows = [row for row in found["rows"] if row["question"] == question]
    names = list(dict.fromkeys(row["system"] for row in rows if row["kind"] == "trained"))
    unit = Unit(metric_of(found, question))
    panels = [
        _panel(title, axis, unit, [_points(found, rows, name, key, scale, unit) for name in names], _flat(rows, unit))
        for key, (title, axis, scale) in AXES.items()
    ]
    legend = [
        (VARIABLES[CATEGORIES[k % len(CATEGORIES)]], SIGNS[k // len(CATEGORIES) % len(SIGNS)], name + _of(rows, name))
        for k, name in enumerate(names)
    ]
    return {"question": question, "about": unit.about.capitalize(), "panels": panels, "legend": legend}


def _points(
    found: Found, rows: Sequence[Found], name: str, key: str, scale: float, unit: Unit
) -> dict[str, np.ndarray]:
    """One recipe's curve, "x" and "y", of the trainings that have all stages; and the "ends" of its last interval."""
    own = [row for row in rows if row["system"] == name]
    last = own[-1]["score"]
    curve, common = at_all_stages(own)
    if key == "memory" or not common:
        x, y = [found["recipes"][name]["memory"] if key == "memory" else own[-1][key]], [last["estimate"]]
    else:
        x, y = [row[key] for row in own], [curve[row["step"]] for row in own]
        for row in (row for row in rows if row["system"] == found["recipes"][name]["untrained"]):
            known = [value for seed, value in zip(row["trainings"], row["seeds"], strict=True) if seed in common]
            x, y = [0.0, *x], [float(np.mean(known or row["seeds"])), *y]
    ends = [np.nan if last[end] is None else last[end] for end in ("low", "high")]
    scaled = lambda values: unit.scale * np.array(values, dtype=float)
    return {"x": np.array(x, dtype=float) / scale, "y": scaled(y), "ends": scaled(ends)}


def _of(rows: Sequence[Found], name: str) -> str:
    """Which part of a recipe's trainings its curve is of, if not of all."""
    own = [row for row in rows if row["system"] == name]
    drawn, every = len(at_all_stages(own)[1]), max(len(row["trainings"]) for row in own)
    return f" (curve of {drawn} of {every} trainings)" if drawn < every else ""


def _flat(rows: Sequence[Found], unit: Unit) -> list[float]:
    """Scores of log-mel statistics."""
    return [unit.scale * row["score"]["estimate"] for row in rows if row["kind"] == "log-mel"]


@drawn
def _panel(
    title: str, axis: str, unit: Unit, curves: Sequence[Mapping[str, np.ndarray]], flat: Sequence[float]
) -> Figure:
    figure, axes = panel(240, title, unit.about, left=36)
    for value in flat:
        axes.axhline(value, color=MUTED, linewidth=0.9, dashes=(4, 3))
    for number, one in enumerate(curves):
        color = CATEGORIES[number % len(CATEGORIES)]
        marker = MARKERS[number // len(CATEGORIES) % len(MARKERS)]
        axes.plot(one["x"], one["y"], color=color, marker=marker, markersize=4)
        # Side by side, in case several end at the same x.
        place = one["x"][-1] * (1 + 0.008 * (number - (len(curves) - 1) / 2))
        axes.plot([place] * 2, one["ends"], color=color, linewidth=1.0)
    axes.set(xlabel=axis)
    axes.set_xlim(left=0)
    axes.grid(axis="y", color=RULE)
    axes.locator_params(axis="x", nbins=5)
    return figure


def _costs(found: Found) -> list[list[str]]:
    return [
        [
            Markup("{}<small>{}</small>").format(name, one["summary"]),
            f"{one['parameters']:,}",
            f"{one['steps']:,}",
            f"{1000 * one['seconds']:.3g}",
            "–" if one["trained_seconds"] is None else f"{one['trained_seconds'] / 60:.3g}",
            f"{one['steps'] * one['flops'] / 1e12:.3g}",
            f"{one['memory'] / 1e9:.3g}",
            str(one["trainings"]),
        ]
        for name, one in (found["recipes"] | found["supervised"]).items()
    ]


def _numbers(found: Found, question: str) -> dict[str, Any]:
    """Scores and differences of one question, in words."""
    unit = Unit(metric_of(found, question))
    plain = lambda value: unit.text(value, "")
    bold = Markup("<b>{}</b>").format
    scores = []
    for row in found["rows"]:
        if row["question"] == question:
            score = row["score"]
            ends = span(score["low"], score["high"], plain, " to ")
            step = f"{row['step']:,}" if row["kind"] == "trained" else "–"
            seeds = ", ".join(map(plain, row["seeds"]))
            scores.append([row["system"], step, bold(plain(score["estimate"])), ends, seeds])
    pairs = []
    for pair in found["pairs"]:
        if pair["question"] == question:
            lead, least = pair["difference"]["lead"], pair["difference"]["detectable"]
            text = unit.text(lead["estimate"])
            text = bold(text) if clear(lead["low"], lead["high"]) else text
            ends = span(lead["low"], lead["high"], unit.text, " to ")
            against = pair["difference"]["against"]
            pairs.append([pair["system"], against, text, ends, "–" if least is None else plain(least)])
    about, title = unit.about.capitalize(), question[:1].upper() + question[1:]
    return {"title": title, "about": about, "scores": scores, "pairs": pairs}
