"""A comparison as one self-contained page, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aasp.compare.tables import headlines, metric_of, questions, summary
from aasp.compare.units import Unit
from aasp.evaluate.intervals import clear, span
from aasp.report.listing import listing
from aasp.report.page import Section, page
from aasp.report.style import CATEGORIES, MUTED, RULE, drawn, panel

Found = Mapping[str, Any]
TITLE = "Which method learns most from the same budget?"
LEAD = """Every recipe was trained on the same sound for the same budget, frozen, and probed on the same clips. What
does each reach, after how many steps, how much time and how many operations, and which differences are more than
luck?"""
MARKERS = "osD^v"
AXES = {
    "step": ("Steps", "optimizer steps", 1.0),
    "seconds": ("Time", "minutes of training steps", 60.0),
    "flops": ("Operations", "TFLOPs", 1e12),
    "memory": ("Memory", "GB on a GPU", 1e9),
}
"""What quality is drawn against: title, axis, and its unit in that of the JSON."""


def render(found: Found) -> str:
    """The page."""
    requested = questions(found)
    heads = headlines(found)
    sections = [*(_curves(found, question) for question in heads), _costs(found)]
    sections += [_numbers(found, question) for question in requested]
    if found["failed"]:
        rows = [[escape(place), escape(why)] for place, why in found["failed"].items()]
        table = listing("What broke down", ["training", "why"], rows, left=2)
        sections.append(Section("What broke down", "These trainings did not end, and are in no score.", [table]))
    facts = {"Command": f"<code>{escape(found['command'])}</code>", "Software": escape(found["software"])}
    answers = [answer(found, question) for question in heads]
    return page(eyebrow="aasp compare", title=TITLE, lead=LEAD, answers=answers, sections=sections, facts=facts)


def answer(found: Found, question: str) -> str:
    """Which system leads which, where the intervals show it; plain text."""
    rows = [row for row in found["rows"] if row["question"] == question and row["last"] and row["kind"] == "trained"]
    if not rows:
        return f"{question}: nothing is measured yet."
    best = max(rows, key=lambda row: row["score"]["estimate"])
    unit = Unit(best["metric"])
    score = best["score"]
    ends = span(score["low"], score["high"], lambda value: unit.tell(value, ""), " to ")
    value = f"{unit.tell(score['estimate'], '')} ({ends}; {unit.about})"
    said = f"{question[:1].upper()}{question[1:]}: {best['system']} is highest, {value}."
    ahead: list[str] = []
    alike: list[str] = []
    for other, lead in _leads(found, question, best["system"]).items():
        ends = span(lead["low"], lead["high"], unit.tell, " to ")
        (ahead if clear(lead["low"], lead["high"]) else alike).append(f"{other} ({ends})")
    if ahead:
        said += f" It differs clearly from {', '.join(ahead)}."
    return said + (f" It can't be distinguished from {', '.join(alike)}." if alike else "")


def _leads(found: Found, question: str, best: str) -> dict[str, dict[str, float | None]]:
    """The intervals of a system's leads over all that it is paired with."""
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


def _curves(found: Found, question: str) -> Section:
    rows = [row for row in found["rows"] if row["question"] == question]
    names = list(dict.fromkeys(row["system"] for row in rows if row["kind"] == "trained"))
    unit = Unit(metric_of(found, question))
    panels = [
        _panel(title, axis, unit, [_points(found, rows, name, key, scale, unit) for name in names], _flat(rows, unit))
        for key, (title, axis, scale) in AXES.items()
    ]
    keys = ", ".join(
        f'<b style="color: var(--category-{number % len(CATEGORIES) + 1})">'
        f"{'●■◆▲▼'[number // len(CATEGORIES) % len(MARKERS)]} {escape(name)}</b>"
        for number, name in enumerate(names)
    )
    return Section(
        f"Quality against cost: {question}",
        f"{escape(summary(found))} The curves begin at the untrained encoder of the same architecture.",
        panels,
        f"""{escape(unit.about.capitalize())}. {keys}. <b>Bar:</b> the 95 % interval at the end. <b>Dashes:</b> log-mel
        statistics of 128 bands, and of 40. Operations and memory are counted, not measured; minutes are measured.""",
    )


def _points(
    found: Found, rows: Sequence[Found], name: str, key: str, scale: float, unit: Unit
) -> dict[str, np.ndarray]:
    """Of one recipe: "x" and "y" of its curve, and the "ends" of its last interval."""
    own = [row for row in rows if row["system"] == name]
    last = own[-1]["score"]
    y = [row["score"]["estimate"] for row in own]
    if key == "memory":
        x, y = [found["recipes"][name]["memory"]], y[-1:]
    else:
        x = [row[key] for row in own]
        start = [row for row in rows if row["system"] == found["recipes"][name]["untrained"]]
        x, y = [0.0] * len(start) + x, [row["score"]["estimate"] for row in start] + y
    ends = [np.nan if last[end] is None else last[end] for end in ("low", "high")]
    scaled = lambda values: unit.scale * np.array(values, dtype=float)
    return {"x": np.array(x, dtype=float) / scale, "y": scaled(y), "ends": scaled(ends)}


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
        # Side by side where several end at one place.
        place = one["x"][-1] * (1 + 0.008 * (number - (len(curves) - 1) / 2))
        axes.plot([place] * 2, one["ends"], color=color, linewidth=1.0)
    axes.set(xlabel=axis)
    axes.set_xlim(left=0)
    axes.grid(axis="y", color=RULE)
    axes.locator_params(axis="x", nbins=5)
    return figure


def _costs(found: Found) -> Section:
    head = ["recipe", "parameters", "steps", "ms a step", "minutes", "TFLOPs", "GB", "trainings"]
    rows = [
        [
            f"{escape(name)}<small>{escape(one['summary'])}</small>",
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
    return Section(
        "What each costs",
        """A step was timed on noise before the start; minutes are what the steps of a training took, without waiting
        for data, checkpoints and measuring. Operations and memory are counted as <code>aasp plan</code> does, for one
        GPU.""",
        [listing("Costs of each recipe", head, rows, across=True)],
    )


def _numbers(found: Found, question: str) -> Section:
    unit = Unit(metric_of(found, question))
    plain = lambda value: unit.tell(value, "")
    scores = []
    for row in found["rows"]:
        if row["question"] == question:
            score = row["score"]
            ends = span(score["low"], score["high"], plain, " to ")
            step = f"{row['step']:,}" if row["kind"] == "trained" else "–"
            seeds = ", ".join(map(plain, row["seeds"]))
            scores.append([escape(row["system"]), step, f"<b>{plain(score['estimate'])}</b>", ends, seeds])
    pairs = []
    for pair in found["pairs"]:
        if pair["question"] == question:
            lead, least = pair["difference"]["lead"], pair["difference"]["detectable"]
            text = unit.tell(lead["estimate"])
            text = f"<b>{text}</b>" if clear(lead["low"], lead["high"]) else text
            ends = span(lead["low"], lead["high"], unit.tell, " to ")
            against = escape(pair["difference"]["against"])
            pairs.append([escape(pair["system"]), against, text, ends, "–" if least is None else plain(least)])
    return Section(
        question[:1].upper() + question[1:],
        f"{escape(unit.about.capitalize())}, with 95 % intervals.",
        [
            listing("Scores", ["system", "step", "score", "95 %", "each seed"], scores, across=True),
            listing(
                "Differences", ["recipe", "minus", "difference", "95 %", "could have seen"], pairs, left=2, across=True
            ),
        ],
        """Differences are paired clip by clip, and of two encoders seed by seed; <b>bold</b> where the interval leaves
        out zero. <b>Could have seen:</b> the smallest true difference that so many trainings and clips would show four
        times in five.""",
    )
