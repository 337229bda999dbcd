"""The laboratory's figures: curves over some shared axes, estimates with their intervals, and folded frequencies.

Every figure is SVG for a page of `aasp.report`. Intervals are as in the JSON: estimate, low, high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from aasp.aliasing.response.stimuli import alias
from aasp.report.style import CATEGORIES, FIRST, INVERTED, MUTED, RULE, drawn, panel
from aasp.report.style import legend as legend_above

DASHED = (0, (4, 3))
DOTTED = (0, (1, 2))
FLOOR_DB = -48.0
Values = Sequence[float | None] | np.ndarray


class Axis(NamedTuple):
    """An axis: its label, limits and ticks, and tick labels if they are not the numbers."""

    label: str
    limits: tuple[float | None, float | None] = (None, None)
    ticks: Sequence[float] = ()
    names: Sequence[str] = ()
    log: bool = False


MODULATION = Axis("modulation frequency (Hz)", (0.45, 50), (0.5, 1, 2, 5, 10, 20, 40), log=True)
RATE = Axis(
    "modulation rate (Hz)", (0.93, 50), (1, 2, 3.125, 6.25, 12.5, 25, 50), ("1", "2", "3.1", "6.3", "12.5", "25", "50"),
    log=True,
)  # fmt: skip
SHIFT = Axis("shift (frames, ms)", (0.5, 15.5), (1, 4, 8, 12, 15), [f"{n}\n{10 * n} ms" for n in (1, 4, 8, 12, 15)])
GAIN = Axis("gain (dB below peak)", (FLOOR_DB, 3), (-48, -36, -24, -12, 0))


class Curve(NamedTuple):
    """A curve through K points; None and NaN leave gaps. Curves with the same name share one legend entry.

    A line is "solid", DASHED, DOTTED, or "" for none; `dots` marks the points; `low` and `high` bound a band.
    """

    x: Values
    y: Values
    color: str
    name: str = ""
    line: Any = "solid"
    dots: bool = False
    low: Values | None = None
    high: Values | None = None


def ends(interval: Mapping[str, Any] | None) -> np.ndarray:
    """Estimate, low and high, shape (3,); NaN if there is none."""
    values = [None] * 3 if interval is None else [interval[key] for key in ("estimate", "low", "high")]
    return np.array(values, dtype=float)


def decibels(values: Values, peak: float) -> np.ndarray:
    """20 log10 of value / peak; NaN below the floor."""
    decibel = 20 * np.log10(np.maximum(np.array(values, dtype=float) / peak, 1e-9))
    return np.where(decibel < FLOOR_DB, np.nan, decibel)


def color(number: int) -> str:
    """A model's colour, the same in every panel of a study."""
    return CATEGORIES[number % len(CATEGORIES)]


@drawn
def lines(
    curves: Sequence[Curve], x: Axis, y: Axis, *, title: str, tinted: Sequence[float] = (), height: float = 220
) -> Figure:
    """Curves over an axis.

    Args:
        curves: in drawing order.
        x, y: the axes; the label of `y` is written below the title.
        title: the panel's title.
        tinted: post-patch Nyquist frequencies, dashed; the range above the lowest is tinted.
        height: the panel's height.
    """
    figure, axes = panel(height, title, y.label, left=36)
    if tinted:
        axes.axvspan(min(tinted), x.limits[1], color=RULE, alpha=0.35, linewidth=0)
    for hertz in set(tinted):
        axes.axvline(hertz, color=MUTED, linewidth=0.9, linestyle=DASHED)
    named = {""}
    for curve in curves:
        if curve.low is not None and curve.high is not None:
            low, high = (np.array(values, dtype=float) for values in (curve.low, curve.high))
            axes.fill_between(curve.x, low, high, color=curve.color, alpha=0.22, linewidth=0)
        label = None if curve.name in named else curve.name
        named.add(curve.name)
        style: dict[str, Any] = {"marker": "o", "markersize": 2.8} if curve.dots else {}
        style |= {"linestyle": curve.line or "none", "linewidth": 1.2, "color": curve.color, "label": label}
        axes.plot(curve.x, np.array(curve.y, dtype=float), **style)
    _scale(axes, "x", x)
    _scale(axes, "y", y._replace(label=""))
    axes.grid(axis="y")
    if x.names and "\n" in x.names[0]:
        figure.subplots_adjust(bottom=48 / height)
    _legend(axes, named - {""})
    return figure


@drawn
def intervals(
    groups: Sequence[str],
    series: Sequence[tuple[str, Sequence[str], np.ndarray]],
    *,
    title: str,
    label: str,
    marked: float | None = None,
    tinted: tuple[float, float] | None = None,
    log: int = 0,
    limits: tuple[float, float] | None = None,
    inside: bool = False,
) -> Figure:
    """Estimates with their intervals, one line for each group and series.

    Args:
        groups: names, from top to bottom.
        series: name, a colour for each group, and estimate, low and high, shape (groups, 3), NaN if there are none.
        title: the panel's title.
        label: label of the horizontal axis.
        marked: a reference value, dashed.
        tinted: a reference range.
        log: base of a logarithmic axis.
        limits: limits of the horizontal axis.
        inside: write names above their line, and the estimates, in per cent, beside it.
    """
    left, right = (4, 34) if inside else (112, 16)
    figure, axes = panel(70 + len(groups) * max(26, 12 * len(series) + 8), title, "", left=left, right=right)
    if tinted is not None:
        axes.axvspan(*tinted, color=RULE, alpha=0.45, linewidth=0)
    if marked is not None:
        axes.axvline(marked, color=MUTED, linewidth=0.9, linestyle=DASHED)
    for number, (name, colors, values) in enumerate(series):
        y = np.arange(len(groups)) + 0.6 * ((number + 0.5) / len(series) - 0.5)
        axes.plot([], [], "o", color=colors[0] if len(colors) else FIRST, markersize=4.5, label=name)
        for place, color, (estimate, low, high) in zip(y, colors, values, strict=True):
            axes.plot([low, high], [place, place], color=color, linewidth=4, alpha=0.45)
            axes.plot(estimate, place, "o", color=color, markersize=4.5)
    axes.set(xlabel=label, ylim=(len(groups) - 0.5, -0.9 if inside else -0.5))
    if log:
        axes.set_xscale("log", base=log)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    if limits is not None:
        axes.set_xlim(limits)
    axes.set_yticks([] if inside else range(len(groups)), [] if inside else groups)
    for row, group in enumerate(groups if inside else ()):
        axes.text(0, row - 0.22, group, fontsize=9, va="bottom")
        beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(f"{series[0][2][row, 0]:.0f} %", (1, row), (6, 0), va="center", fontsize=9, **beside)
    axes.spines["left"].set_visible(not inside)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    _legend(axes, {name for name, _, _ in series})
    return figure


@drawn
def folds(hz: Sequence[float], token_hz: Sequence[float], share_fν: np.ndarray, *, title: str) -> Figure:
    """A column for each modulation: the distribution of its energy over the frequencies of the tokens."""
    figure, axes = panel(220, title, "frequency in the tokens (Hz)")
    ink = np.full((*share_fν.T.shape, 4), 0.12)
    ink[..., 3] = np.sqrt(np.clip(share_fν.T, 0, 1))
    step = (token_hz[1] - token_hz[0]) / 2
    extent = (-0.5, len(hz) - 0.5, token_hz[0] - step, token_hz[-1] + step)
    image = axes.imshow(ink, origin="lower", aspect="auto", interpolation="none", extent=extent)
    image.set_gid(INVERTED)
    place = lambda wanted: np.interp(np.log(wanted), np.log(hz), np.arange(len(hz)))
    nyquist, dense = token_hz[-1], np.geomspace(hz[0], hz[-1], 2000)
    axes.plot(place(dense), alias(dense, 2 * nyquist), color=FIRST, linewidth=0.7, alpha=0.7)
    axes.axvline(place(nyquist), color=MUTED, linewidth=0.9, linestyle=DASHED)
    axes.set_xticks([place(tick) for tick in MODULATION.ticks], [f"{tick:g}" for tick in MODULATION.ticks])
    axes.set(xlabel="modulation put in (Hz)", xlim=extent[:2], ylim=extent[2:])
    axes.locator_params(axis="y", nbins=5)
    axes.spines[:].set_visible(False)
    return figure


def _scale(axes: Axes, name: str, axis: Axis) -> None:
    """Give the axis "x" or "y" its scale, label, limits and ticks."""
    axes.set(**{f"{name}scale": "log" if axis.log else "linear", f"{name}label": axis.label})
    if axis.ticks:
        names = axis.names or [f"{tick:g}" for tick in axis.ticks]
        axes.set(**{f"{name}ticks": axis.ticks, f"{name}ticklabels": names})
        getattr(axes, f"{name}axis").set_minor_locator(NullLocator())
    elif not axis.log:
        axes.locator_params(axis=name, nbins=5)  # type: ignore[arg-type]
    axes.set(**{f"{name}lim": axis.limits})


def _legend(axes: Axes, names: set[str]) -> None:
    """Level with the label of the vertical axis if the names are short; none for a single one, which titles name."""
    if len(names) > 1 and sum(map(len, names)) <= 24:
        legend_above(axes)
    elif len(names) > 1:
        axes.legend(loc="best", handlelength=1.1, handletextpad=0.4, labelspacing=0.3, borderpad=0.2)
