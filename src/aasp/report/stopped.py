"""The page of a training that broke down: why, and the curves up to that step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aasp.pretrain.health import MIN_RANK, MIN_TARGET_DEVIATION
from aasp.report.learning import Curves, metric_curves
from aasp.report.templates import write_page
from aasp.training.loop import TrainingStopped
from aasp.training.tracking import read_metrics

NAME = "stopped.html"
CURVES: Curves = {
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


def explained(error: TrainingStopped) -> str:
    """The line to show for a training that stopped; its page is written and named, if it has a run that can be read."""
    with suppress(OSError):
        if error.run is not None:
            return f"{error}; {write_stopped_page(str(error), error.run)} shows how"
    return str(error)


def write_stopped_page(why: str, run: Path) -> Path:
    """Write the page into a run's directory.

    Args:
        why: the training stopped, in one line.
        run: the directory, with `metrics.jsonl` in it.

    Raises:
        OSError: the disk is full.
    """
    metrics = read_metrics(run)
    name = json.loads((run / "recipe.json").read_text(encoding="utf-8")).get("name", run.name)
    losses = sorted({name for line in metrics for name in line if name.startswith("losses/")})
    drawn = {**CURVES, **{name: ("Loss", name.removeprefix("losses/"), None) for name in losses}}
    shown = [name for name in CURVES if any(name in line for line in metrics[-LAST:])]
    write_page(
        run / NAME,
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
    return run / NAME


def _cell(line: Mapping[str, float | None], name: str) -> str:
    value = line.get(name, "")
    return "not finite" if value is None else value if isinstance(value, str) else f"{value:.4g}"
