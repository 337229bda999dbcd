"""Learning curves: a small figure for each logged number of a run; the page of a run that stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from aasp.pretrain.health import MIN_RANK, MIN_TARGET_DEVIATION
from aasp.report.style import FIRST, SECOND, drawn, panel
from aasp.report.templates import write_page
from aasp.training.loop import TrainingStopped
from aasp.training.tracking import read_metrics

Curves = Mapping[str, tuple[str, str, float | None]]
"""Metrics to draw: title, axis label, and the value below which training has collapsed."""
LEARNING: Curves = {
    "losses/frame": ("Predicting what is hidden", "frame loss", None),
    "losses/codes": ("Naming hidden patches", "code loss (nats)", None),
    "losses/utterance": ("Summarising the clip", "utterance loss", None),
    "losses/contrastive": ("Separating clips", "contrastive loss (nats)", None),
    "diagnostics/embedding_rank": ("Dimensions in use", "rank of the class tokens", None),
    "diagnostics/alpha_spread": ("Decay depends on the sound", "deviation of α (per frame)", None),
    "diagnostics/beta_spread": ("So does frequency", "deviation of β (rad per frame)", None),
}
STOPPED: Curves = {
    "loss": ("Loss", "sum of all losses", None),
    "gradient_norm": ("Gradient", "norm before clipping", None),
    "learning_rate": ("Learning rate", "of the optimizer", None),
    "skipped_steps": ("Skipped steps", "loss or gradient was not finite", None),
    "diagnostics/embedding_rank": ("Dimensions in use", "rank of the embeddings", MIN_RANK),
    "diagnostics/target_variance": ("Targets", "variance over patches", MIN_TARGET_DEVIATION**2),
    "diagnostics/summary_deviation": ("Targets of clips", "deviation between clips", MIN_TARGET_DEVIATION),
    "diagnostics/prediction_variance": ("Predictions", "variance over patches", None),
}
LAST = 12  # log lines in the table


def metric_curves(metrics: Sequence[Mapping[str, float | None]], shown: Curves = LEARNING) -> list[Markup]:
    """One SVG for each of some metrics that a run logged at two or more steps.

    Args:
        metrics: lines of `metrics.jsonl`; a value that is missing or None (not finite) leaves a gap.
        shown: the metrics to draw.
    """
    found = [(logged(metrics, name), *how) for name, how in shown.items()]
    return [curves([one], title=title, label=label, limit=limit) for one, title, label, limit in found if len(one) > 1]


def logged(metrics: Sequence[Mapping[str, float | None]], name: str) -> np.ndarray:
    """Steps at which a metric was logged and its values, shape (n, 2)."""
    points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
    return np.array(points, dtype=float).reshape(-1, 2)


@drawn
def curves(lines: Sequence[np.ndarray], *, title: str, label: str, limit: float | None = None) -> Figure:
    """A number over optimizer steps, one line per run; the mean of their last values is written at the end.

    Args:
        lines: for each run, steps and values, shape (n, 2).
        title: the panel's title.
        label: quantity and unit.
        limit: a value marked by a dashed line.
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
    """The curve of one run; see `curves`."""
    return curves([np.stack([steps, values], axis=1)], title=title, label=label, limit=limit)


def explained(error: TrainingStopped) -> str:
    """A one-line message for a training that stopped; if its run can be read, its page is written and named."""
    with suppress(OSError):
        if error.run is not None:
            return f"{error}; {write_stopped_page(str(error), error.run)} shows how"
    return str(error)


def write_stopped_page(why: str, run: Path) -> Path:
    """Write a page into a run's directory, beside `metrics.jsonl`, with the one-line reason `why` it stopped.

    Raises:
        OSError: the disk is full.
    """
    metrics = read_metrics(run)
    name = json.loads((run / "recipe.json").read_text(encoding="utf-8")).get("name", run.name)
    losses = sorted({name for line in metrics for name in line if name.startswith("losses/")})
    drawn = {**STOPPED, **{name: ("Loss", name.removeprefix("losses/"), None) for name in losses}}
    shown = [name for name in STOPPED if any(name in line for line in metrics[-LAST:])]
    write_page(
        run / "stopped.html",
        "report/stopped.html",
        eyebrow="a training that stopped",
        title=f"{name} stopped at step {metrics[-1]['step']:,.0f}" if metrics else f"{name} stopped",
        why=why,
        lines=len(metrics),
        curves=metric_curves(metrics, drawn),
        head=["step", *(name.rpartition("/")[2].replace("_", " ") for name in shown)],
        rows=[[f"{line['step']:,.0f}", *(_cell(line, name) for name in shown)] for line in metrics[-LAST:]],
        facts={"run": run, "all numbers": run / "metrics.jsonl"},
    )
    return run / "stopped.html"


def _cell(line: Mapping[str, float | None], name: str) -> str:
    value = line.get(name, "")
    return "not finite" if value is None else value if isinstance(value, str) else f"{value:.4g}"
