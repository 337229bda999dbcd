"""Figures of stability: curves with bands, each model a colour and its control dashed, and intervals side by side.

Legend: K points of a curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aasp.report.style import CATEGORIES, FIRST, MUTED, RULE, SECOND, THIRD, drawn, panel

DASHED = (0, (4, 2.5))
COLORS = (FIRST, SECOND, THIRD, *CATEGORIES)


def color(number: int) -> str:
    """Colour of a model, the same in every panel."""
    return COLORS[number % len(COLORS)]


@dataclass(frozen=True)
class Curve:
    """A curve with its interval.

    Attributes:
        name: for the legend; empty for none.
        x: shape (K,).
        estimate, low, high: shape (K,), NaN where there is none.
        color: of the line.
        control: dashed, without its band.
    """

    name: str
    x: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    color: str
    control: bool = False


@drawn
def over_shift(curves: Sequence[Curve], *, patch_frames: float, title: str, what: str) -> Figure:
    """A measure over the shift in frames and milliseconds.

    Args:
        curves: x in frames of 10 ms.
        patch_frames: between two tokens; half of it is marked, where the grid is off the most.
        title: of the panel.
        what: quantity of the vertical axis.
    """
    figure, axes = _curves(curves, title, what, height=244)
    ticks = [1, 4, 8, 12, 15]
    axes.set_xticks(ticks, [f"{tick}\n{10 * tick} ms" for tick in ticks])
    axes.axvline(patch_frames / 2, color=RULE, linewidth=0.8, zorder=0)
    axes.set(xlabel="shift (frames, ms)", xlim=(0.5, 15.5))
    # The second line of the ticks needs room.
    figure.subplots_adjust(bottom=48 / 244)
    return figure


@drawn
def over_rate(curves: Sequence[Curve], *, nyquist_hz: float, title: str, what: str) -> Figure:
    """A measure over the modulation rate, the band that patches alias tinted."""
    figure, axes = _curves(curves, title, what)
    axes.set_xscale("log")
    axes.axvspan(nyquist_hz, 50, color=RULE, alpha=0.35, linewidth=0, zorder=0)
    ticks = [1, 2, 3.125, 6.25, 12.5, 25, 50]
    axes.set_xticks(ticks, ["1", "2", "3.1", "6.3", "12.5", "25", "50"])
    axes.minorticks_off()
    axes.set(xlabel="modulation rate (Hz)", xlim=(0.93, 50))
    return figure


@drawn
def over_strength(curves: Sequence[Curve], *, title: str, what: str) -> Figure:
    """A measure over how much the log-mel was changed, in rms dB."""
    figure, axes = _curves(curves, title, what)
    axes.set(xlabel="change of the log-mel (rms dB)", xlim=(0, None), ylim=(0, None))
    return figure


@dataclass(frozen=True)
class Bar:
    """An interval of one model in one group; NaN where there is none."""

    estimate: float
    low: float
    high: float


@drawn
def intervals(
    groups: Sequence[str], bars: Sequence[tuple[str, Sequence[Bar]]], *, marked: float, title: str, label: str
) -> Figure:
    """Estimates with their intervals, a line for each group and model.

    Args:
        groups: names, from top to bottom.
        bars: of each model, its name and a bar a group.
        marked: a value to compare with, dashed.
        title: of the panel.
        label: of the horizontal axis.
    """
    spread = 0.6
    figure, axes = panel(70 + len(groups) * max(26, 12 * len(bars) + 8), title, "", left=92)
    axes.axvline(marked, color=MUTED, linewidth=0.9, linestyle=DASHED)
    for number, (name, of_groups) in enumerate(bars):
        y = np.arange(len(groups)) + spread * ((number + 0.5) / len(bars) - 0.5)
        values = np.array([(bar.estimate, bar.low, bar.high) for bar in of_groups]).T
        axes.hlines(y, values[1], values[2], color=color(number), linewidth=4, alpha=0.45)
        axes.plot(values[0], y, "o", color=color(number), markersize=4.5, label=name)
    axes.set_yticks(range(len(groups)), groups)
    axes.set(xlabel=label, ylim=(len(groups) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    _legend(axes, [name for name, _ in bars])
    return figure


def _curves(curves: Sequence[Curve], title: str, what: str, height: float = 230) -> tuple[Figure, Axes]:
    figure, axes = panel(height, title, what, left=34)
    for curve in curves:
        if curve.control:
            axes.plot(curve.x, curve.estimate, color=curve.color, linewidth=1.2, linestyle=DASHED)
        else:
            axes.fill_between(curve.x, curve.low, curve.high, color=curve.color, alpha=0.22, linewidth=0)
            axes.plot(curve.x, curve.estimate, color=curve.color, marker="o", markersize=2.8, label=curve.name or None)
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=5)
    _legend(axes, [curve.name for curve in curves if curve.name])
    return figure, axes


def _legend(axes: Axes, names: Sequence[str]) -> None:
    """Names of the series where they cover least; none for a single one, which the title names."""
    if len(set(names)) > 1:
        axes.legend(loc="best", handlelength=1.1, handletextpad=0.4, labelspacing=0.3, borderpad=0.2)
