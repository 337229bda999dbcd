"""The figures of the laboratory: curves over one of a few axes, estimates with their intervals, and four special ones.

Every figure is SVG for a page of `aasp.report`. Intervals come as JSON has them: estimate, low, high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from aasp.aliasing.response.stimuli import alias
from aasp.report.style import CATEGORIES, FIRST, INK, INVERTED, MUTED, RULE, SECOND, THIRD, drawn, panel
from aasp.report.style import legend as legend_above

DASHED = (0, (4, 3))
DOTTED = (0, (1, 2))
FLOOR_DB = -48.0
Values = Sequence[float | None] | np.ndarray


@dataclass(frozen=True)
class Axis:
    """An axis: its label, limits and ticks."""

    label: str
    limits: tuple[float | None, float | None] = (None, None)
    ticks: Sequence[float] = ()
    names: Sequence[str] | None = None
    log: bool = False


MODULATION = Axis("modulation frequency (Hz)", (0.45, 50), (0.5, 1, 2, 5, 10, 20, 40), log=True)
RATE = Axis(
    "modulation rate (Hz)", (0.93, 50), (1, 2, 3.125, 6.25, 12.5, 25, 50), ("1", "2", "3.1", "6.3", "12.5", "25", "50"),
    log=True,
)  # fmt: skip
SHIFT = Axis("shift (frames, ms)", (0.5, 15.5), (1, 4, 8, 12, 15), [f"{n}\n{10 * n} ms" for n in (1, 4, 8, 12, 15)])
GAIN = Axis("gain (dB below peak)", (FLOOR_DB, 3), (-48, -36, -24, -12, 0))


@dataclass(frozen=True)
class Curve:
    """A curve; None and NaN leave gaps.

    Attributes:
        x, y: K points.
        color: of line and dots.
        name: in the legend; curves of one name are named once.
        line: "solid", DASHED, DOTTED, or "" for none.
        dots: whether the points are marked.
        low, high: ends of intervals, a band.
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
    """Estimate, low and high, shape (3,); NaN where there is none."""
    values = [None] * 3 if interval is None else [interval[key] for key in ("estimate", "low", "high")]
    return np.array(values, dtype=float)


def decibels(values: Values, peak: float) -> np.ndarray:
    """20 log10 of value / peak; NaN below the floor."""
    decibel = 20 * np.log10(np.maximum(np.array(values, dtype=float) / peak, 1e-9))
    return np.where(decibel < FLOOR_DB, np.nan, decibel)


@drawn
def lines(
    curves: Sequence[Curve], x: Axis, y: Axis, *, title: str, tinted: Sequence[float] = (), height: float = 220
) -> Figure:
    """Curves over an axis.

    Args:
        curves: in the order in which they are drawn.
        x, y: the axes; the label of `y` is written below the title.
        title: of the panel.
        tinted: post-patch Nyquist frequencies, dashed; what lies beyond the lowest is tinted.
        height: of the panel.
    """
    figure, axes = panel(height, title, y.label, left=36)
    _tint(axes, tinted, x.limits[1])
    named: set[str] = set()
    for curve in curves:
        if curve.low is not None and curve.high is not None:
            low, high = (np.array(values, dtype=float) for values in (curve.low, curve.high))
            axes.fill_between(curve.x, low, high, color=curve.color, alpha=0.22, linewidth=0)
        label = curve.name if curve.name not in named else ""
        named.add(curve.name)
        style: dict[str, Any] = {"linestyle": curve.line or "none", "linewidth": 1.2, "label": label or None}
        marker: dict[str, Any] = {"marker": "o", "markersize": 2.8} if curve.dots else {}
        axes.plot(curve.x, np.array(curve.y, dtype=float), color=curve.color, **style, **marker)
    _set(axes, x, "x")
    _set(axes, y, "y")
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
    """Estimates with their intervals, a line for each group and series.

    Args:
        groups: names, from top to bottom.
        series: name, a colour a group, and estimate, low and high, shape (groups, 3), NaN where there are none.
        title: of the panel.
        label: of the horizontal axis.
        marked: a value to compare with, dashed.
        tinted: a range to compare with.
        log: base of a logarithmic axis.
        limits: of the horizontal axis.
        inside: names stand above their line, and the estimates, in per cent, beside it.
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
    if inside:
        for row, (group, estimate) in enumerate(zip(groups, series[0][2][:, 0], strict=True)):
            axes.text(0, row - 0.22, group, fontsize=9, va="bottom")
            beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            axes.annotate(f"{estimate:.0f} %", (1, row), (6, 0), va="center", fontsize=9, **beside)
        axes.spines["left"].set_visible(False)
    axes.set_yticks([] if inside else range(len(groups)), [] if inside else groups)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    _legend(axes, {name for name, _, _ in series})
    return figure


@drawn
def folds(hz: Sequence[float], token_hz: Sequence[float], share_fν: np.ndarray, *, title: str) -> Figure:
    """For each modulation a column: at which frequencies of their own the tokens have its energy."""
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


@drawn
def channel_peaks(shares: np.ndarray, highest_hz: float, low_hz: float, *, title: str) -> Figure:
    """Modulation rates at which channels respond most: shares of channels in equal bins from 0 to the highest rate."""
    figure, axes = panel(200, title, "share of channels (%)", left=24)
    _tint(axes, [low_hz], highest_hz)
    axes.stairs(100 * shares, np.linspace(0, highest_hz, len(shares) + 1), color=FIRST, fill=True, alpha=0.75)
    _set(axes, Axis("modulation rate of the strongest response (Hz)", (0, highest_hz)), "x")
    _set(axes, Axis("", (0, None)), "y")
    return figure


@drawn
def temporal_kernels(examples: Sequence[Mapping[str, Any]], frame_rate: float, *, title: str) -> Figure:
    """A few channels' kernels over time, each scaled to its largest weight, one above the other."""
    figure, axes = panel(200, title, "", left=8)
    for row, (example, color) in enumerate(zip(examples, (FIRST, SECOND, THIRD), strict=False)):
        weights = np.array(example["weights"])
        milliseconds = 1000 / frame_rate * (np.arange(len(weights)) - (len(weights) - 1) / 2)
        level = -2.6 * row
        axes.axhline(level, color=RULE, linewidth=0.8)
        axes.plot(milliseconds, level + weights / np.abs(weights).max(), color=color, marker="o", markersize=2.6)
        axes.text(milliseconds[0], level + 1.15, f"most at {example['hertz']:.3g} Hz", color=INK, fontsize=9)
    axes.set(xlabel="time from the patch's centre (ms)", yticks=[], ylim=(-2.6 * len(examples) + 1.2, 1.9))
    axes.spines["left"].set_visible(False)
    return figure


@drawn
def start_against_now(row: Mapping[str, Any], *, title: str) -> Figure:
    """Each element of a learned parameter, at the start and now; on the line it has not moved."""
    start, now = np.array(row["points"]).T
    figure, axes = panel(200, title, row["name"], left=46, right=16)
    limits = min(start.min(), now.min()), max(start.max(), now.max())
    axes.plot(limits, limits, color=RULE, linewidth=1)
    axes.plot(start, now, ".", color=FIRST, markersize=3)
    axes.set(xlabel="at the start")
    axes.locator_params(nbins=5)
    return figure


def color(number: int) -> str:
    """The colour of a model, the same in every panel of a study."""
    return CATEGORIES[number % len(CATEGORIES)]


def _tint(axes: Axes, low_hz: Sequence[float], high_hz: float | None) -> None:
    """The rates that patches alias."""
    if low_hz and high_hz is not None:
        axes.axvspan(min(low_hz), high_hz, color=RULE, alpha=0.35, linewidth=0)
        for hertz in set(low_hz):
            axes.axvline(hertz, color=MUTED, linewidth=0.9, linestyle=DASHED)


def _set(axes: Axes, axis: Axis, name: str) -> None:
    of = lambda what, *values, **options: getattr(axes, f"set_{name}{what}")(*values, **options)
    if axis.log:
        of("scale", "log")
    if name == "x":
        of("label", axis.label)
    if axis.ticks:
        of("ticks", axis.ticks, axis.names or [f"{tick:g}" for tick in axis.ticks])
        getattr(axes, f"{name}axis").set_minor_locator(NullLocator())
    elif not axis.log:
        axes.locator_params(axis=name, nbins=5)  # type: ignore[arg-type]
    of("lim", *axis.limits)


def _legend(axes: Axes, names: set[str]) -> None:
    """Level with the label of the vertical axis where the names are short; none for a single one, which titles name."""
    if len(names) > 1 and sum(map(len, names)) <= 24:
        legend_above(axes)
    elif len(names) > 1:
        axes.legend(loc="best", handlelength=1.1, handletextpad=0.4, labelspacing=0.3, borderpad=0.2)
