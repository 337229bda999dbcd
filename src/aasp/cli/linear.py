"""`aasp linear`: how much a linear layer can read from a frozen model, on a labelled index."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from rich.table import Table

from aasp.cli.arguments import parse
from aasp.cli.progress import bar
from aasp.cli.show import facts
from aasp.files import atomic_write, check_output

if TYPE_CHECKING:
    from aasp.datasets.index import Skipped
    from aasp.evaluate.intervals import Interval
    from aasp.evaluate.linear import ProbeResult
    from aasp.evaluate.task import Task


@dataclass(frozen=True)
class Linear:
    """Score a frozen model by a linear probe.

    Layer, pooling and penalty are chosen on the valid part (a tenth of train where there is none), the head is trained
    on train and valid and scored once on test. Intervals are 95 % bootstraps over --group.
    """

    model: tyro.conf.Positional[str]
    """Folder of a model or of a run, or a model on the hub."""
    index: Path
    """.csv or .parquet with a column path."""
    label: str
    """Column of labels; several in a row, separated by ;, make the task multi-label (mAP)."""
    split: str
    """Column of train, valid (optional) and test; or of folds, each tested once."""
    group: str | None = None
    """Column of what clips have in common (recording, speaker, instrument): kept together, and drawn by intervals."""
    pooling: tuple[str, ...] = ()
    """Candidates: cls, mean, flat, mean+std, flat+std; all by default."""
    layer: tuple[int, ...] = ()
    """Candidates: 0, the input of the first block, to the model's depth, its output; all by default."""
    json: Path | None = None
    """File for the whole record: protocol, choices, scores, every prediction."""
    overwrite: bool = False
    """Replace an existing --json file."""


def run(argv: list[str]) -> int:
    arguments = parse(Linear, argv, prog="aasp linear")
    if arguments.json is not None:
        check_output(arguments.json, overwrite=arguments.overwrite)

    from aasp.datasets.manifest import Manifest
    from aasp.evaluate.features import clip_features
    from aasp.evaluate.linear import linear_probe
    from aasp.evaluate.task import Task
    from aasp.model.audio_encoder import load
    from aasp.model.pooling import POOLINGS

    encoder = load(arguments.model)
    manifest, skipped = Manifest.open(arguments.index)
    names = [arguments.label, arguments.split] + ([arguments.group] if arguments.group else [])
    columns = [manifest.column(name).tolist() for name in names]
    task = Task.from_columns(*columns)  # before the long part, so that its complaints come at once
    unreadable: list[Skipped] = []
    with bar("embedding") as show:
        features = clip_features(
            encoder,
            manifest.paths,
            poolings=arguments.pooling or POOLINGS,
            layers=arguments.layer or None,
            skipped=unreadable,
            progress=show,
        )
    paths = manifest.paths
    if unreadable:
        bad = {file.path for file in unreadable}
        kept = [row for row, path in enumerate(paths) if path not in bad]
        paths = [paths[row] for row in kept]
        features = {key: X[kept] for key, X in features.items()}
        task = Task.from_columns(*([column[row] for row in kept] for column in columns))
    with bar("probing") as show:
        result = linear_probe(features, task, progress=show)
    skipped += unreadable
    scores = result.scores()
    _print(arguments, task, result, scores, skipped)
    if arguments.json is not None:
        record = _record(arguments, task, result, scores, skipped, paths)
        with atomic_write(arguments.json) as beside:
            beside.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _print(
    arguments: Linear, task: Task, result: ProbeResult, scores: dict[str, Interval], skipped: list[Skipped]
) -> None:
    drawn = f"{len(set(result.clusters.tolist())):,} × {arguments.group}" if result.clusters is not None else "clips"
    facts(
        f"linear probe of {arguments.model} on {arguments.index}, {arguments.label} by {arguments.split}",
        {
            **{name: f"{one.percent()} %" for name, one in scores.items()},
            "interval": f"95 %, bootstrap over {drawn}",
            "clips": f"{len(result.test):,} scored of {len(task.y):,}, {len(task.classes)} classes",
            "note": task.notes or None,
            "skipped": f"{len(skipped):,}" if skipped else None,
        },
    )
    for file in skipped:
        print(f"skipped {file.path}: {file.reason}", file=sys.stderr)
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for name in ("  part", "layer", "pooling", "C", "valid", "test"):
        table.add_column(name, justify="left" if name in ("  part", "pooling") else "right")
    for r, chosen, test in zip(task.rounds, result.chosen, result.round_scores(), strict=True):
        layer, pooling = chosen.key
        valid = chosen.valid_scores[chosen.key]
        table.add_row(f"  {r.name}", str(layer), pooling, f"{chosen.C:.2g}", f"{100 * valid:.1f}", f"{100 * test:.1f}")
    Console(highlight=False).print(table)


def _record(
    arguments: Linear,
    task: Task,
    result: ProbeResult,
    scores: dict[str, Interval],
    skipped: list[Skipped],
    paths: list[str],
) -> dict[str, Any]:
    """Everything that was asked, chosen and found, as JSON values."""
    from aasp import __version__
    from aasp.evaluate.linear import SHORTLIST, STRENGTHS

    named = lambda y: [task.classes[k] for k in y.nonzero()[0]] if task.multilabel else task.classes[y]
    return {
        "aasp": __version__,
        "model": arguments.model,
        "index": str(arguments.index),
        "label": arguments.label,
        "split": arguments.split,
        "group": arguments.group,
        "protocol": {
            "head": "standardised, L2 logistic regression" + (", one per class" if task.multilabel else ""),
            "candidates": "ridge regression's best on valid, then logistic regression's; refitted on train + valid",
            "strengths": STRENGTHS,
            "shortlist": SHORTLIST,
        },
        "classes": task.classes,
        "notes": task.notes,
        "skipped": [file._asdict() for file in skipped],
        "scores": {name: one.to_dict() for name, one in scores.items()},
        "rounds": [
            {
                "part": r.name,
                "clips": {"train": len(r.train), "valid": len(r.valid), "test": len(r.test)},
                "layer": chosen.key[0],
                "pooling": chosen.key[1],
                "C": chosen.C,
                "test": test,
                "valid": [
                    {"layer": layer, "pooling": pooling, "score": value}
                    for (layer, pooling), value in chosen.valid_scores.items()
                ],
            }
            for r, chosen, test in zip(task.rounds, result.chosen, result.round_scores(), strict=True)
        ],
        "predictions": [
            {"path": paths[row], "part": task.rounds[number].name, "truth": named(truth), "predicted": named(guess)}
            for row, number, truth, guess in zip(
                result.test, result.rounds, result.truth, result.predicted, strict=True
            )
        ],
    }
