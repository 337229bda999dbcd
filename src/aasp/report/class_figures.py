"""Figures of a classifier: what it takes for what, how well it knows each class, how far to believe it, how it learned.

K classes, B bins of probability, R rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from aasp.evaluate.class_scores import Reliability
from aasp.report.style import FIRST, MUTED, RULE, WIDTH, drawn, panel

LETTER = 5.0
"""Width of a letter in CSS pixels, on the average."""
LONGEST = 22
"""Letters of a class's name; longer ones are cut in figures, tables have them whole."""


@drawn
def confusion_matrix(counts: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Rows are true classes, columns predicted ones; a cell is as dark as its share of its row.

    Args:
        counts: clips, (K, K).
        classes: names.
        title: of the panel.
    """
    names = _short(classes)
    margin = max(map(len, names)) * LETTER + 12
    side = (WIDTH - margin - 4) / len(names)
    height = 34 + len(names) * side + margin
    figure, axes = panel(height, title, "true class, by predicted class below", left=margin, right=4)
    figure.subplots_adjust(bottom=margin / height)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=FIRST, alpha=0.6 * shares[row, column], linewidth=0))
        if side >= 13:
            number = {"ha": "center", "va": "center_baseline", "fontsize": 9}
            axes.text(column, row, str(counts[row, column]), **number)
    ends = (-0.5, len(names) - 0.5)
    axes.set(xlim=ends, ylim=ends[::-1])
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for line in np.arange(len(names) + 1) - 0.5:
        axes.plot([line, line], ends, color=RULE, linewidth=0.5)
        axes.plot(ends, [line, line], color=RULE, linewidth=0.5)
    axes.spines[:].set_visible(False)
    return figure


@drawn
def class_dots(names: Sequence[str], values: np.ndarray, *, title: str, label: str) -> Figure:
    """A line for each class with its score of 1 as a dot, the lowest on top.

    Args:
        names: classes, K.
        values: scores, (K,).
        title: of the panel.
        label: what the score is.
    """
    order = np.argsort(-values, kind="stable")
    short = _short(names)
    margin = max(map(len, short)) * LETTER + 12
    figure, axes = panel(60 + 15 * len(names), title, "", left=margin, right=14)
    for place, k in enumerate(order):
        axes.plot([0, 100 * values[k]], [place, place], color=FIRST, alpha=0.35, linewidth=3, solid_capstyle="butt")
        axes.plot(100 * values[k], place, "o", color=FIRST, markersize=5, clip_on=False)
    axes.set_yticks(range(len(names)), [short[k] for k in order])
    axes.set(xlim=(0, 100), ylim=(-0.7, len(names) - 0.3), xlabel=f"{label} (%)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


@drawn
def class_curve(values: np.ndarray, support: np.ndarray, *, title: str, label: str) -> Figure:
    """Scores of many classes over how many clips each has.

    Args:
        values: scores of 1, (K,).
        support: clips, (K,), at least one each.
        title: of the panel.
        label: what the score is.
    """
    figure, axes = panel(230, title, f"{label} (%)")
    axes.scatter(support, 100 * values, s=9, color=FIRST, alpha=0.6, linewidth=0, clip_on=False)
    axes.set_xscale("log")
    low, high = int(support.min()), int(support.max())
    ticks = sorted({low, round((low * high) ** 0.5), high})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlim=(low / 1.1, high * 1.1), ylim=(0, 100), xlabel="clips of the class")
    axes.grid(axis="y")
    return figure


@drawn
def reliability_diagram(found: Reliability, *, title: str, cases: str) -> Figure:
    """How often what is said to be so probable is so; on the dashed line, as often as said.

    Args:
        found: bins.
        title: of the panel.
        cases: what is so or not: clips that are right, labels that are there.
    """
    figure, axes = panel(250, title, f"share of {cases} (%)")
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    for said, share in zip(100 * found.said, 100 * found.found, strict=True):
        axes.plot([said, said], [said, share], color=FIRST, alpha=0.35, linewidth=3, solid_capstyle="butt")
    axes.plot(100 * found.said, 100 * found.found, "o", color=FIRST, markersize=5, clip_on=False)
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="said probability (%)")
    axes.grid(axis="y")
    return figure


@drawn
def probability_histogram(found: Reliability, *, title: str, cases: str) -> Figure:
    """How many cases there are of each probability, on a logarithmic scale.

    Args:
        found: bins.
        title: of the panel.
        cases: what is counted: clips, labels.
    """
    figure, axes = panel(250, title, cases, left=44)
    axes.bar(100 * found.said, found.cases, width=5, color=FIRST, alpha=0.75)
    axes.set_yscale("log")
    axes.set(xlim=(0, 100), ylim=(0.7, None), xlabel="said probability (%)")
    powers = [10**k for k in range(int(np.log10(found.cases.max())) + 1)]
    axes.set_yticks(powers, [f"{power:,}" for power in powers])
    axes.minorticks_off()
    axes.grid(axis="y")
    return figure


@drawn
def round_curves(
    history: Sequence[Sequence[Mapping[str, float | None]]], name: str, *, title: str, label: str, scale: float = 1.0
) -> Figure:
    """A number over the optimizer's steps, a line for each round; the mean of their last values is written at the end.

    Args:
        history: of each round, its lines; a line may lack the number.
        name: of the number.
        title: of the panel.
        label: quantity and unit.
        scale: 100 for per cent.
    """
    figure, axes = panel(190, title, label, left=36, right=30)
    ends = []
    for lines in history:
        points = np.array([(line["step"], line[name]) for line in lines if line.get(name) is not None], dtype=float)
        if len(points):
            axes.plot(points[:, 0], scale * points[:, 1], color=FIRST, alpha=1 if len(history) == 1 else 0.5)
            ends.append(points[-1])
    step, value = np.mean(ends, axis=0)
    _end(axes, step, scale * value)
    axes.set(xlabel="optimizer step", xlim=(0, max(end[0] for end in ends)))
    axes.set_xticks(sorted({0, round(step / 2), round(step)}))
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=4)
    return figure


def _end(axes: Axes, step: float, value: float) -> None:
    axes.plot(step, value, "o", color=FIRST, markersize=4, clip_on=False)
    axes.annotate(f"{value:.3g}", (step, value), (5, 0), textcoords="offset points", va="center", fontsize=9)


def _short(names: Sequence[str]) -> list[str]:
    return [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]
