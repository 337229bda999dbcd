"""Figures of the kernels' part of the laboratory: temporal kernels of any stem, and the pull of a tone at a distance.

Legend: T frames, R modulation rates, d distances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aasp.report.style import CATEGORIES, FIRST, INK, MUTED, RULE, SECOND, THIRD, drawn, legend, panel

WINDOWS = {
    "two-sided": FIRST,
    "one-sided": SECOND,
    "gaussian": CATEGORIES[0],
    "hann": CATEGORIES[4],
    "rectangular": THIRD,
}


@drawn
def channel_peaks(shares: np.ndarray, highest_hz: float, low_hz: float, *, title: str) -> Figure:
    """The modulation rates at which a stem's channels respond most, by share of channels.

    Args:
        shares: of equal bins from 0 to the highest rate.
        highest_hz: half the frame rate.
        low_hz: lower edge of the alias-prone band, tinted.
        title: of the panel.
    """
    figure, axes = panel(200, title, "share of channels (%)", left=24)
    _band(axes, low_hz, highest_hz)
    axes.stairs(100 * shares, np.linspace(0, highest_hz, len(shares) + 1), color=FIRST, fill=True, alpha=0.75)
    axes.set(xlabel="modulation rate of the strongest response (Hz)", xlim=(0, highest_hz))
    axes.set_ylim(0, None)
    axes.locator_params(axis="y", nbins=5)
    return figure


@drawn
def channel_power(hertz_R: np.ndarray, quantiles_3R: np.ndarray, low_hz: float, *, title: str) -> Figure:
    """How the channels' power spreads over modulation rates: the median channel, and where four fifths of them lie."""
    figure, axes = panel(200, title, "power (%, of a channel's whole)", left=24)
    low, middle, high = 100 * quantiles_3R
    _band(axes, low_hz, hertz_R[-1])
    axes.fill_between(hertz_R, low, high, color=FIRST, alpha=0.25, linewidth=0)
    axes.plot(hertz_R, middle, color=FIRST)
    axes.set(xlabel="modulation rate (Hz)", xlim=(0, hertz_R[-1]))
    axes.set_ylim(0, None)
    axes.locator_params(axis="y", nbins=5)
    return figure


@drawn
def temporal_kernels(examples: Sequence[Mapping[str, Any]], frame_rate: float, *, title: str) -> Figure:
    """The course over time of a few channels' kernels, each scaled to its largest weight, one above the other."""
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
def pull_of_windows(
    distances: np.ndarray, rows: Sequence[Mapping[str, Any]], *, title: str, frame_rate: float
) -> Figure:
    """The pull of a tone on kernels of several windows, over its distance.

    Args:
        distances: radians per frame, shape (d,).
        rows: of `pulls`, one a window, conjugate phase.
        title: of the panel.
        frame_rate: frames per second.
    """
    figure, axes = _pull_axes(title, frame_rate)
    for row in rows:
        _pull(axes, distances * frame_rate / (2 * np.pi), row, WINDOWS[row["window"]], row["window"])
    axes.legend(loc="lower left", ncols=2, handlelength=1.1, columnspacing=1.0, borderpad=0)
    return figure


@drawn
def pull_of_phases(
    distances: np.ndarray, rows: Sequence[Mapping[str, Any]], *, title: str, frame_rate: float
) -> Figure:
    """As `pull_of_windows`, for one window in the even and the conjugate phase."""
    figure, axes = _pull_axes(title, frame_rate)
    for row in rows:
        color = FIRST if row["phase"] == "conjugate" else SECOND
        _pull(axes, distances * frame_rate / (2 * np.pi), row, color, row["phase"])
    legend(axes)
    return figure


@drawn
def departures(rows: Sequence[Mapping[str, Any]], least: float, *, title: str) -> Figure:
    """How far each learned parameter is from its start, on a logarithmic axis.

    Args:
        rows: of `departure`.
        least: distance up to which a parameter counts as still at its start, tinted.
        title: of the panel.
    """
    figure, axes = panel(70 + 20 * len(rows), title, "mean distance, and where four fifths lie", left=110, right=16)
    far = [max(row["distance"]["estimate"], 1e-4) for row in rows]
    axes.axvspan(5e-5, least, color=RULE, alpha=0.35, linewidth=0)
    for place, (row, distance) in enumerate(zip(rows, far, strict=True)):
        ends = [max(row["distance"][end], 5e-5) for end in ("low", "high")]
        axes.plot(ends, [place, place], color=FIRST, linewidth=1.1)
        axes.plot(distance, place, "o", color=FIRST, markersize=4)
    axes.set(xscale="log", xlabel="in spreads of the starts", ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlim(5e-5, max(10.0, 2 * max(far)))
    axes.set_yticks(range(len(rows)), [row["name"].split(" (")[0] for row in rows])
    axes.set_xticks(ticks := [1e-4, 1e-3, 1e-2, 0.1, 1, 10], [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    return figure


@drawn
def start_against_now(row: Mapping[str, Any], *, title: str) -> Figure:
    """Each element of a learned parameter, where it began and where it is; on the line it has not moved."""
    start, now = np.array(row["points"]).T
    figure, axes = panel(200, title, row["name"], left=46, right=16)
    ends = min(start.min(), now.min()), max(start.max(), now.max())
    axes.plot(ends, ends, color=RULE, linewidth=1)
    axes.plot(start, now, ".", color=FIRST, markersize=3)
    axes.set(xlabel="at the start")
    axes.locator_params(nbins=5)
    return figure


def _pull_axes(title: str, frame_rate: float) -> tuple[Figure, Axes]:
    figure, axes = panel(250, title, "gradient of the power", left=40)
    axes.set(xscale="log", yscale="log", xlabel="distance of the tone (Hz)", ylim=(1e-4, 60))
    axes.set_xlim(0.003 * frame_rate, 0.24 * frame_rate)
    ticks = [t * frame_rate / 100 for t in (0.5, 1, 2, 5, 10, 20)]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks(levels := [1e-4, 1e-3, 1e-2, 0.1, 1, 10], [f"{level:g}" for level in levels])
    axes.minorticks_off()
    axes.grid(axis="y")
    return figure, axes


def _pull(axes: Axes, hertz: np.ndarray, row: Mapping[str, Any], color: str, label: str) -> None:
    """Solid where the gradient leads to the tone, dotted where it doesn't at most phases."""
    size, towards = np.array(row["size"]), np.array(row["towards"])
    axes.plot(hertz, size, color=color, linewidth=1.1, linestyle=(0, (1, 2)))
    axes.plot(hertz, np.where(towards > 0, size, np.nan), color=color, label=label)


def _band(axes: Axes, low_hz: float, high_hz: float) -> None:
    axes.axvspan(low_hz, high_hz, color=RULE, alpha=0.35, linewidth=0)
    axes.axvline(low_hz, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
