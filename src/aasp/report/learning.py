"""Learning curves: a small figure for each number that a run logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from aasp.report.style import FIRST, SECOND, drawn, panel

Curves = Mapping[str, tuple[str, str, float | None]]
"""What is drawn of a run's metrics: title, axis label, and the value below which it is a collapse."""
LEARNING: Curves = {
    "losses/frame": ("Predicting what is hidden", "frame loss", None),
    "losses/codes": ("Naming hidden patches", "code loss (nats)", None),
    "losses/utterance": ("Summarising the clip", "utterance loss", None),
    "losses/contrastive": ("Separating clips", "contrastive loss (nats)", None),
    "diagnostics/embedding_rank": ("Dimensions in use", "rank of the class tokens", None),
    "diagnostics/alpha_spread": ("Decay depends on the sound", "deviation of α (per frame)", None),
    "diagnostics/beta_spread": ("So does frequency", "deviation of β (rad per frame)", None),
}


def metric_curves(metrics: Sequence[Mapping[str, float | None]], shown: Curves = LEARNING) -> list[Markup]:
    """One SVG for each of some metrics that a run has logged at two steps or more.

    Args:
        metrics: lines of `metrics.jsonl`; a value that is missing or None (not finite) leaves a gap.
        shown: which.
    """
    found = []
    for name, (title, label, limit) in shown.items():
        points = logged(metrics, name)
        if len(points) > 1:
            found.append(curve(*points.T, title=title, label=label, limit=limit))
    return found


def logged(metrics: Sequence[Mapping[str, float | None]], name: str) -> np.ndarray:
    """Step and value where a metric was logged, shape (n, 2)."""
    points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
    return np.array(points, dtype=float).reshape(-1, 2)


@drawn
def curves(lines: Sequence[np.ndarray], *, title: str, label: str, limit: float | None = None) -> Figure:
    """A number over the optimizer's steps, a line for each run; the mean of their last values is written at the end.

    Args:
        lines: of each run, step and value, shape (n, 2).
        title: of the panel.
        label: quantity and unit.
        limit: a value to mark with a dashed line.
    """
    figure, axes = panel(160, title, label, left=36)
    for line in lines:
        axes.plot(*line.T, color=FIRST, alpha=1 if len(lines) == 1 else 0.5)
    last, (step, value) = max(line[-1, 0] for line in lines), np.mean([line[-1] for line in lines], axis=0)
    axes.plot(step, value, "o", color=FIRST, markersize=4)
    axes.annotate(f"{value:.3g}", (step, value), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set(xlabel="optimizer step", xlim=(0, last * 1.11))
    axes.set_xticks([0, last // 2, last])
    if limit is not None:
        axes.axhline(limit, color=SECOND, linestyle="--", linewidth=1)
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=4)
    return figure


def curve(steps: np.ndarray, values: np.ndarray, *, title: str, label: str, limit: float | None = None) -> Markup:
    """The curve of one run, as `curves`."""
    return curves([np.stack([steps, values], axis=1)], title=title, label=label, limit=limit)
