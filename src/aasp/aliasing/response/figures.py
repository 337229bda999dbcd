"""The pictures of a response: gain with its theory, where energy folds to, how tokens move, what can be decoded.

G // 2 + 1 frequencies of the tokens, S states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from aasp.aliasing.response.stimuli import alias
from aasp.report.rates import BAND as STATE_BAND
from aasp.report.spectrogram import RATE_COLORS
from aasp.report.style import CATEGORIES, FIRST, INVERTED, MUTED, RULE, drawn, legend, panel

FLOOR_DB = -48.0
ENDLESS = (0, (5, 3))
TICKS = [0.5, 1, 2, 5, 10, 20, 40]
Values = Sequence[float | None]


@dataclass(frozen=True)
class Curve:
    """One model in a panel.

    Attributes:
        color: its own in all panels.
        nyquist: of its tokens, Hz.
        hz: modulation frequencies.
        measured: at each; None leaves a gap.
        theory: expected at each, where there is a theory.
        limit: expected of an endless window.
    """

    color: str
    nyquist: float
    hz: Sequence[float]
    measured: Values
    theory: Values | None = None
    limit: Values | None = None


def color(number: int) -> str:
    """The colour of the model of that number, from 0."""
    return CATEGORIES[number % len(CATEGORIES)]


@drawn
def gain(curves: Sequence[Curve], *, title: str) -> Figure:
    """Gains in dB below each curve's measured peak: dots are measured, lines the Fourier transform of the taps."""
    figure, axes = panel(220, title, "gain (dB below peak)", left=30)
    axes.plot([], [], "o", color=MUTED, markersize=3.4, label="measured")
    if any(curve.theory is not None for curve in curves):
        axes.plot([], [], color=MUTED, linewidth=1.2, label="expected")
    if any(curve.limit is not None for curve in curves):
        axes.plot([], [], color=MUTED, linewidth=0.9, linestyle=ENDLESS, label="endless window")
    for curve in curves:
        peak = max(value for value in curve.measured if value is not None) or 1.0
        axes.plot(curve.hz, _decibel(curve.measured, peak), "o", color=curve.color, markersize=3.4)
        if curve.theory is not None:
            axes.plot(curve.hz, _decibel(curve.theory, peak), color=curve.color, linewidth=1.2)
        else:
            axes.plot(curve.hz, _decibel(curve.measured, peak), color=curve.color, linewidth=0.8, linestyle=(0, (1, 2)))
        if curve.limit is not None:
            axes.plot(curve.hz, _decibel(curve.limit, peak), color=curve.color, linewidth=0.9, linestyle=ENDLESS)
    _decibels(axes)
    _modulation(axes, [curve.nyquist for curve in curves])
    legend(axes)
    return figure


@drawn
def gain_by_subband(hz: Sequence[float], gain_fF: np.ndarray, nyquist: float, *, title: str) -> Figure:
    """The gain of a modulation in each subband alone, in dB below the largest, low subbands to high."""
    figure, axes = panel(220, title, "gain (dB below the largest)", left=30)
    tones = RATE_COLORS(np.linspace(0, 1, gain_fF.shape[1]))
    for number, (values, tone) in enumerate(zip(gain_fF.T, tones, strict=True)):
        name = {0: "lowest", gain_fF.shape[1] - 1: "highest"}.get(number)
        axes.plot(hz, _decibel(values.tolist(), float(gain_fF.max())), color=tone, linewidth=1.1, label=name)
    _decibels(axes)
    _modulation(axes, [nyquist])
    legend(axes)
    return figure


@drawn
def over_frequency(curves: Sequence[Curve], *, title: str, what: str, top: float, ticks: Sequence[float]) -> Figure:
    """A measure of each model over the modulation frequency."""
    figure, axes = panel(190, title, what, left=30)
    for curve in curves:
        values = [np.nan if value is None else value for value in curve.measured]
        axes.plot(curve.hz, values, color=curve.color, marker="o", markersize=3, linewidth=1.1)
    axes.set_ylim(-0.04 * top, 1.04 * top)
    axes.set_yticks(ticks)
    _modulation(axes, [curve.nyquist for curve in curves])
    return figure


@drawn
def folds(hz: Sequence[float], token_hz: Sequence[float], share_fν: np.ndarray, *, title: str) -> Figure:
    """For each modulation a column: at which frequencies of their own the tokens have its energy."""
    figure, axes = panel(220, title, "frequency in the tokens (Hz)", left=30)
    ink = np.full((*share_fν.T.shape, 4), 0.12)
    ink[..., 3] = np.sqrt(np.clip(share_fν.T, 0, 1))
    step = (token_hz[1] - token_hz[0]) / 2
    extent = (-0.5, len(hz) - 0.5, token_hz[0] - step, token_hz[-1] + step)
    image = axes.imshow(ink, origin="lower", aspect="auto", interpolation="none", extent=extent)
    image.set_gid(INVERTED)
    place = lambda wanted: np.interp(np.log(wanted), np.log(hz), np.arange(len(hz)))
    nyquist, dense = token_hz[-1], np.geomspace(hz[0], hz[-1], 2000)
    axes.plot(place(dense), alias(dense, 2 * nyquist), color=FIRST, linewidth=0.7, alpha=0.7)
    axes.axvline(place(nyquist), color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xticks([place(tick) for tick in TICKS], [f"{tick:g}" for tick in TICKS])
    axes.set(xlabel="modulation put in (Hz)", xlim=extent[:2], ylim=extent[2:])
    axes.locator_params(axis="y", nbins=5)
    axes.spines[:].set_visible(False)
    return figure


@drawn
def states(
    hz: Sequence[float],
    measured_fS: np.ndarray,
    theory_fS: np.ndarray,
    beta_hz: Sequence[float],
    *,
    nyquist: float,
    title: str,
) -> Figure:
    """Every state of a subband, coloured by the frequency it looks at: dots measured, lines expected."""
    figure, axes = panel(220, title, "gain (dB below the largest)", left=30)
    peak = float(measured_fS.max())
    for dots, line, tone in zip(measured_fS.T, theory_fS.T, RATE_COLORS(LogNorm(*STATE_BAND)(beta_hz)), strict=True):
        axes.plot(hz, _decibel(line.tolist(), peak), color=tone, linewidth=0.9)
        axes.plot(hz, _decibel(dots.tolist(), peak), "o", color=tone, markersize=2.4)
    _decibels(axes)
    _modulation(axes, [nyquist])
    return figure


@dataclass(frozen=True)
class Bar:
    """An accuracy with its interval (NaN: none), as fractions, and who has it."""

    name: str
    color: str
    estimate: float
    low: float
    high: float


@drawn
def accuracies(bars: Sequence[Bar], chance: float, ceiling: Bar, *, title: str) -> Figure:
    """Accuracies with 95 % intervals, between chance (dashed) and what the frames themselves tell (a line)."""
    height = 76 + 26 * len(bars)
    figure, axes = panel(height, title, "", left=4, right=34)
    axes.axvspan(100 * ceiling.low, 100 * ceiling.high, color=RULE, alpha=0.5, linewidth=0)
    axes.axvline(100 * ceiling.estimate, color=MUTED, linewidth=0.9)
    axes.axvline(100 * chance, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    for row, bar in enumerate(bars):
        axes.plot([100 * bar.low, 100 * bar.high], [row, row], color=bar.color, linewidth=5, alpha=0.4)
        axes.plot(100 * bar.estimate, row, "o", color=bar.color, markersize=6)
        axes.text(0, row - 0.22, bar.name, fontsize=9, va="bottom")
        axes.annotate(f"{100 * bar.estimate:.0f} %", (1, row), (6, 0), xycoords=("axes fraction", "data"),
                      textcoords="offset points", va="center", fontsize=9)  # fmt: skip
    axes.set(xlim=(0, 100), ylim=(len(bars) - 0.5, -0.9), xlabel="rates named rightly (%)", yticks=[])
    axes.spines["left"].set_visible(False)
    return figure


def _decibel(values: Values, peak: float) -> np.ndarray:
    """20 log10 of value / peak; what is below the floor is not drawn."""
    ratio = np.array([np.nan if value is None else value / peak for value in values])
    decibel = 20 * np.log10(np.maximum(ratio, 1e-9))
    return np.where(decibel < FLOOR_DB, np.nan, decibel)


def _decibels(axes: Axes) -> None:
    axes.set_ylim(FLOOR_DB, 3)
    axes.set_yticks([-48, -36, -24, -12, 0])


def _modulation(axes: Axes, nyquists: Sequence[float]) -> None:
    """The axis of modulation frequencies; what lies above the first post-patch Nyquist is shaded."""
    axes.axvspan(min(nyquists), 50, color=RULE, alpha=0.35, linewidth=0)
    for nyquist in set(nyquists):
        axes.axvline(nyquist, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.set(xlabel="modulation frequency (Hz)", xlim=(0.45, 50))
