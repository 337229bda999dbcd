"""The page of a training that broke down: why, and the curves that show how it came to that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

import numpy as np

from aasp.files import atomic_write
from aasp.pretrain.health import MIN_RANK, MIN_TARGET_DEVIATION
from aasp.report.learning import curve
from aasp.report.page import Section, page
from aasp.training.loop import TrainingStopped
from aasp.training.tracking import read_metrics

NAME = "stopped.html"
CURVES: dict[str, tuple[str, str, float | None]] = {
    "loss": ("Loss", "sum of all losses", None),
    "gradient_norm": ("Gradient", "norm before clipping", None),
    "learning_rate": ("Learning rate", "of the optimizer", None),
    "skipped_steps": ("Skipped steps", "loss or gradient was not finite", None),
    "diagnostics/embedding_rank": ("Dimensions in use", "rank of the embeddings", MIN_RANK),
    "diagnostics/target_variance": ("Targets", "variance over patches", MIN_TARGET_DEVIATION**2),
    "diagnostics/summary_deviation": ("Targets of clips", "deviation between clips", MIN_TARGET_DEVIATION),
    "diagnostics/prediction_variance": ("Predictions", "variance over patches", None),
}
"""What is drawn of a run's metrics: title, axis label, and the value below which it is a collapse."""
LAST = 12  # log lines in the table


def explained(error: TrainingStopped) -> str:
    """The line to show for a training that stopped; its page is written and named, if it has a run that can be read."""
    with suppress(OSError):
        if error.run is not None:
            return f"{error}; {write(str(error), error.run)} shows how"
    return str(error)


def write(why: str, run: Path) -> Path:
    """Write the page into a run's directory.

    Args:
        why: the training stopped, in one line.
        run: the directory, with `metrics.jsonl` in it.

    Raises:
        OSError: the disk is full.
    """
    metrics = read_metrics(run)
    name = json.loads((run / "recipe.json").read_text(encoding="utf-8")).get("name", run.name)
    sections = [
        Section(
            "How it came to that",
            f"{len(metrics):,} log lines. A dashed line is the value below which embeddings or targets have collapsed.",
            curves(metrics),
            "A gap is a number that was not finite, or of a step at which it was not measured.",
        ),
        Section("The last lines", f"The last {min(LAST, len(metrics))}.", [table(metrics[-LAST:])], layout="table"),
    ]
    text = page(
        eyebrow="a training that stopped",
        title=f"{name} stopped at step {metrics[-1]['step']:,.0f}" if metrics else f"{name} stopped",
        lead=why,
        answers=[],
        sections=sections,
        facts={"run": escape(str(run)), "all numbers": escape(str(run / "metrics.jsonl"))},
    )
    with atomic_write(run / NAME) as beside:
        beside.write_text(text, encoding="utf-8")
    return run / NAME


def curves(metrics: Sequence[Mapping[str, float | None]]) -> list[str]:
    """An SVG for each of `CURVES` and each single loss that was logged at two steps or more."""
    losses = sorted({name for line in metrics for name in line if name.startswith("losses/")})
    drawn = []
    for name in [*CURVES, *losses]:
        title, label, limit = CURVES.get(name, ("Loss", name.removeprefix("losses/"), None))
        points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
        if len(points) > 1:
            drawn.append(curve(*np.array(points, dtype=float).T, title=title, label=label, limit=limit))
    return drawn


def table(metrics: Sequence[Mapping[str, float | None]]) -> str:
    """Log lines as an HTML table; what was not finite says so."""
    names = [name for name in CURVES if any(name in line for line in metrics)]
    told = lambda line, name: "" if name not in line else "not finite" if line[name] is None else f"{line[name]:.4g}"
    head = "".join(f"<th>{escape(name.rpartition('/')[2].replace('_', ' '))}</th>" for name in names)
    rows = "".join(
        f"<tr><td>{line['step']:,.0f}</td>{''.join(f'<td>{told(line, name)}</td>' for name in names)}</tr>"
        for line in metrics
    )
    return f"<table><thead><tr><th>step</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
