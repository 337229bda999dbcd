"""Distribution of estimated decays and frequencies over the alias-prone band, by default 3.125 to 50 Hz.

S states; counts are over all given patches, clips and states, flattened. Figures are drawn from the counts, so that
they can be redrawn from a file of numbers; their `band` is in Hz.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from aasp.report.style import FIRST, INK, MUTED, RULE, SECOND, dashed, drawn, legend, log_ticks, panel

BAND = (3.125, 50.0)
"""Hz: from the Nyquist frequency of a 160 ms patch up to that of a 10 ms frame."""
OCTAVES = [3.125, 6.25, 12.5, 25, 50]
DECAYS = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
BINS = 40
Bounds = tuple[float, float]
_CELLS = (72, 48)
_FADE = LinearSegmentedColormap.from_list("fade", [to_rgba("#2f9e8f", 0.0), to_rgba("#2f9e8f", 0.9)])


def shares(values: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Share of all values in each bin between the bounds, shape (BINS,); values outside are clipped to a bound."""
    inside = np.clip(np.ravel(values), *bounds)
    return np.histogram(inside, _edges(bounds))[0] / inside.size


def density(alpha: np.ndarray, beta_hz: np.ndarray, bounds: Bounds, band: Bounds = BAND) -> np.ndarray:
    """Number of states in each cell of decay and frequency, log-spaced: shape (72, 48), frequency first.

    Args:
        alpha: decays per frame, any shape.
        beta_hz: frequencies in Hz, the same shape.
        bounds: lowest and highest decay.
        band: lowest and highest frequency in Hz.
    """
    inside = (np.clip(np.ravel(beta_hz), *band), np.clip(np.ravel(alpha), *bounds))
    return np.histogram2d(*inside, bins=_cells(bounds, band))[0]


@drawn
def frequency_histogram(start: np.ndarray, now: np.ndarray, *, title: str, band: Bounds = BAND) -> Figure:
    """Distribution of the frequencies β over the band before and after training, each as `shares`."""
    figure, axes = _histogram(start, now, title, band)
    _hertz(axes, band)
    return figure


@drawn
def decay_histogram(start: np.ndarray, now: np.ndarray, *, title: str, bounds: Bounds) -> Figure:
    """Distribution of the decays α between their bounds before and after training; see `frequency_histogram`."""
    figure, axes = _histogram(start, now, title, bounds)
    log_ticks(axes.xaxis, DECAYS, "{:g}".format)
    axes.set(xlabel="decay α (per frame)", xlim=bounds)
    return figure


@drawn
def decay_over_frequency(
    counts: np.ndarray, *, start: tuple[np.ndarray, np.ndarray], bounds: Bounds, title: str, band: Bounds = BAND
) -> Figure:
    """Density of all states: frequency on the x axis, decay on the y axis; crosses mark the untrained states.

    Args:
        counts: the `density` of states.
        start: (alpha, beta in Hz) of the untrained states, each (S,).
        bounds, band: as for the density.
        title: the panel's title.
    """
    figure, axes = panel(230, title, "decay α (per frame)")
    axes.pcolormesh(*_cells(bounds, band), np.sqrt(counts.T), cmap=_FADE, rasterized=True)
    axes.plot(*start[::-1], "+", color=INK, markersize=6, markeredgewidth=1.1, label="before training")
    log_ticks(axes.yaxis, DECAYS, "{:g}".format)
    axes.set_ylim(bounds)
    _hertz(axes, band)
    legend(axes)
    return figure


@drawn
def found_against_true(
    true_hz: Sequence[float], found_hz: Sequence[np.ndarray], *, title: str, color: str = FIRST, band: Bounds = BAND
) -> Figure:
    """For clips of known modulation rate: the frequencies of their strongest states, as a strip of quantiles per rate.

    Args:
        true_hz: the rates, Hz.
        found_hz: for each, the rates of its patches' strongest states, Hz, shape (patches,).
        title: the panel's title.
        color: the strips' colour.
        band: the alias-prone band.
    """
    figure, axes = panel(230, title, "rate of the strongest state (Hz)")
    low, high = 1.2, 56
    axes.axhspan(*band, color=RULE, alpha=0.35, linewidth=0)
    dashed(axes, (low, high), (low, high))
    axes.text(1.35, 38, "dashed: found = true", color=MUTED, fontsize=9)
    quantiles = np.array([np.quantile(found, [0.1, 0.25, 0.5, 0.75, 0.9]) for found in found_hz]).T
    axes.vlines(true_hz, quantiles[0], quantiles[4], color=color, linewidth=1.2)
    axes.vlines(true_hz, quantiles[1], quantiles[3], color=color, linewidth=6, alpha=0.55)
    axes.plot(true_hz, quantiles[2], "o", color=color, markersize=5)
    log_ticks(axes.yaxis, OCTAVES, hertz_label)
    log_ticks(axes.xaxis, [1.5, *OCTAVES], hertz_label)
    axes.set(xlabel="true modulation rate (Hz)", xlim=(low, high), ylim=(2.6, high))
    return figure


def octaves(band: Bounds) -> list[float]:
    """Octaves from the band's upper bound down to its lower one, in Hz."""
    return [band[1] / 2**k for k in range(int(np.log2(band[1] / band[0]) + 1e-6), -1, -1)]


def hertz_label(hertz: float) -> str:
    """A frequency as a tick label: 3.1, 6.3, 12.5, 25."""
    return f"{hertz + 1e-9:.1f}".removesuffix(".0")


def _edges(bounds: Bounds, bins: int = BINS) -> np.ndarray:
    """Edges of log-spaced bins between two bounds, shape (bins + 1,)."""
    return np.geomspace(*bounds, bins + 1)


def _cells(bounds: Bounds, band: Bounds) -> tuple[np.ndarray, np.ndarray]:
    return _edges(band, _CELLS[0]), _edges(bounds, _CELLS[1])


def _histogram(start: np.ndarray, now: np.ndarray, title: str, bounds: Bounds) -> tuple[Figure, Axes]:
    figure, axes = panel(230, title, "share of states (%)", left=22)
    edges = _edges(bounds)
    axes.stairs(100 * now, edges, color=FIRST, fill=True, alpha=0.75)
    for share, color, label in ((start, SECOND, "untrained"), (now, FIRST, "trained")):
        axes.stairs(100 * share, edges, color=color, linewidth=1.2, label=label)
    axes.set_ylim(0, None)
    axes.locator_params(axis="y", nbins=5)
    legend(axes)
    return figure, axes


def _hertz(axes: Axes, band: Bounds) -> None:
    log_ticks(axes.xaxis, octaves(band), hertz_label)
    axes.set(xlabel="frequency β (Hz)", xlim=band)
