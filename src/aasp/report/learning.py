"""How training went: one small curve for each number that tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from aasp.report.style import FIRST, SECOND, drawn, panel

TOLD = {
    "losses/frame": ("Predicting what is hidden", "frame loss"),
    "losses/codes": ("Naming hidden patches", "code loss (nats)"),
    "losses/utterance": ("Summarising the clip", "utterance loss"),
    "losses/contrastive": ("Telling clips apart", "contrastive loss (nats)"),
    "diagnostics/embedding_rank": ("Dimensions in use", "rank of the class tokens"),
    "diagnostics/alpha_spread": ("Decay depends on the sound", "deviation of α (per frame)"),
    "diagnostics/beta_spread": ("So does frequency", "deviation of β (rad per frame)"),
}
"""What is drawn of a run's metrics: title and axis label of each."""


def learning_curves(metrics: Sequence[Mapping[str, float | None]]) -> list[str]:
    """One SVG for each metric of `TOLD` that the run has logged at two steps or more.

    Args:
        metrics: lines of `metrics.jsonl`; a value that is missing or None (not finite) leaves a gap.
    """
    curves = []
    for name, (title, label) in TOLD.items():
        points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
        if len(points) > 1:
            curves.append(curve(*np.array(points, dtype=float).T, title=title, label=label))
    return curves


@drawn
def curve(steps: np.ndarray, values: np.ndarray, *, title: str, label: str, limit: float | None = None) -> Figure:
    """A curve over steps, its last value written at its end; a limit is a dashed line."""
    figure, axes = panel(160, title, label, left=36)
    axes.plot(steps, values, color=FIRST)
    axes.plot(steps[-1], values[-1], "o", color=FIRST, markersize=4)
    end = (steps[-1], values[-1])
    axes.annotate(f"{values[-1]:.3g}", end, (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set(xlabel="optimizer step", xlim=(0, steps[-1] * 1.11))
    axes.set_xticks([0, steps[-1] // 2, steps[-1]])
    if limit is not None:
        axes.axhline(limit, color=SECOND, linestyle="--", linewidth=1)
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=4)
    return figure
