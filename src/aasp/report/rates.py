"""Where the estimated decays and frequencies lie in the alias-prone band, 3.125 to 50 Hz.

S states; everything is drawn over all patches, clips and states that it is given, flattened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from aasp.report.style import FIRST, INK, MUTED, RULE, SECOND, drawn, legend, panel

BAND = (3.125, 50.0)
"""Hz: above what a patch a 160 ms can tell, up to what a frame a 10 ms can."""
OCTAVES = [3.125, 6.25, 12.5, 25, 50]


@drawn
def frequency_histogram(start_hz: np.ndarray, now_hz: np.ndarray, *, title: str) -> Figure:
    """How the frequencies β spread over the band before and after training, by share of all states.

    Args:
        start_hz: β of the untrained stem, Hz, any shape.
        now_hz: β of the trained stem, Hz, any shape.
        title: of the panel.
    """
    figure, axes = panel(230, title, "share of states (%)", left=22)
    edges = np.geomspace(*BAND, 41)
    for values, color, label in ((start_hz, SECOND, "untrained"), (now_hz, FIRST, "trained")):
        share = np.histogram(np.ravel(values), edges)[0] / np.size(values)
        axes.stairs(100 * share, edges, color=color, fill=label == "trained", alpha=0.75 if label == "trained" else 1)
        axes.stairs(100 * share, edges, color=color, linewidth=1.2, label=label)
    axes.set_ylim(0, None)
    axes.locator_params(axis="y", nbins=5)
    _hertz(axes, "frequency β (Hz)")
    legend(axes)
    return figure


@drawn
def decay_over_frequency(
    alpha: np.ndarray,
    beta_hz: np.ndarray,
    *,
    start: tuple[np.ndarray, np.ndarray],
    bounds: tuple[float, float],
    title: str,
) -> Figure:
    """Every state as a point of a density: frequency across, decay up; crosses are where the states started.

    Args:
        alpha: decays per frame, any shape.
        beta_hz: frequencies in Hz, the same shape.
        start: (alpha, beta in Hz) of the untrained states, each (S,).
        bounds: lowest and highest decay.
        title: of the panel.
    """
    figure, axes = panel(230, title, "decay α (per 10 ms frame)")
    counts, *_ = np.histogram2d(
        np.log(beta_hz.ravel()), np.log(alpha.ravel()), bins=(72, 48), range=(np.log(BAND), np.log(bounds))
    )
    axes.pcolormesh(np.geomspace(*BAND, 73), np.geomspace(*bounds, 49), np.sqrt(counts.T), cmap=_FADE, rasterized=True)
    axes.plot(*start[::-1], "+", color=INK, markersize=6, markeredgewidth=1.1, label="before training")
    axes.set_yscale("log")
    axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1.0], [0.02, 0.05, 0.1, 0.2, 0.5, 1])
    axes.minorticks_off()
    axes.set_ylim(bounds)
    _hertz(axes, "frequency β (Hz)")
    legend(axes)
    return figure


@drawn
def found_against_true(
    true_hz: Sequence[float], found_hz: Sequence[np.ndarray], *, title: str, color: str = FIRST
) -> Figure:
    """For clips of known modulation rate: the rates their strongest states look at, as a strip of quantiles per rate.

    Args:
        true_hz: the rates, Hz.
        found_hz: for each, the rates of its patches' strongest states, Hz, shape (patches,).
        title: of the panel.
        color: of the strips.
    """
    figure, axes = panel(230, title, "rate of the strongest state (Hz)")
    low, high = 1.2, 56
    axes.axhspan(*BAND, color=RULE, alpha=0.35, linewidth=0)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(1.35, 38, "dashed: found = true", color=MUTED, fontsize=9)
    for rate, found in zip(true_hz, found_hz, strict=True):
        tenth, quarter, middle, three_quarters, most = np.quantile(found, [0.1, 0.25, 0.5, 0.75, 0.9])
        axes.plot([rate, rate], [tenth, most], color=color, linewidth=1.2)
        axes.plot([rate, rate], [quarter, three_quarters], color=color, linewidth=6, solid_capstyle="butt", alpha=0.55)
        axes.plot(rate, middle, "o", color=color, markersize=5)
    axes.set_yscale("log")
    axes.set_yticks(OCTAVES, ["3.1", "6.3", "12.5", "25", "50"])
    axes.minorticks_off()
    _hertz(axes, "true modulation rate (Hz)")
    axes.set(xlim=(low, high), ylim=(2.6, high))
    axes.set_xticks([1.5, *OCTAVES], ["1.5", "3.1", "6.3", "12.5", "25", "50"])
    return figure


def _hertz(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.set_xlim(BAND)
    axes.set_xticks(OCTAVES, ["3.1", "6.3", "12.5", "25", "50"])
    axes.minorticks_off()
    axes.set_xlabel(label)


_FADE = LinearSegmentedColormap.from_list("fade", [to_rgba("#2f9e8f", 0.0), to_rgba("#2f9e8f", 0.9)])
