"""The commands that faults are tried on, each small: its arguments, the folders of its runs, and its results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from validator import check_whole, outcome

from aasp.index import Index

ENCODER = ["model.encoder.width=24", "model.encoder.depth=1", "model.vector=none", "model.encoder.heads=2"]
METHOD = [
    *("predictor.width=16", "predictor.depth=1", "predictor.heads=2", "losses.projector=16,8", "masking.views=2"),
    *("teacher.layers=1", "data.batch=4", "data.crop_seconds=0.5"),
]
ALIKE = ["--threads", 1, "--precision", "fp32"]


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        words: its arguments, given the folder of sounds, model and index, and where to write.
        result: its results, except measured times.
        check: reads the output at any moment, and fails if anything is incomplete.
        operations: the number of operations on files that it takes, or a few more.
        kills: how often it is killed.
    """

    words: Callable[[Path, Path], list[object]]
    result: Callable[[Path], Any]
    check: Callable[[Path], object]
    operations: int
    kills: int


def _pretrain(given: Path, out: Path) -> list[object]:
    often = ["--steps", 12, "--checkpoint-every", 2, "--log-every", 1]
    fields = ["--set", *ENCODER, *METHOD]
    return ["pretrain", "aasp_tiny", "--data", given / "sounds", "--out", out, *often, *ALIKE, *fields]


def _finetune(given: Path, out: Path) -> list[object]:
    small = ["--steps", 12, "--log-every", 1, "--set", "crop_seconds=0.5", "batch=4", "validations=4"]
    index = ["--index", given / "index.csv", "--label", "label", "--split", "split"]
    return ["finetune", given / "model", *index, "--out", out, *ALIKE, *small]


def _embed(given: Path, out: Path) -> list[object]:
    return ["embed", given / "model", given / "sounds", "--out", out.with_suffix(".parquet"), "--batch", 1, *ALIKE]


def _compare(given: Path, out: Path) -> list[object]:
    budget = ["--steps", 8, "--seeds", 1, "--benchmarks", f"{given / 'index.csv'}:label:split"]
    fields = ["--set", *ENCODER, *METHOD]
    return ["compare", "aasp_tiny", "--data", given / "sounds", *budget, "--out", out, *ALIKE, *fields]


def _scan(given: Path, out: Path) -> list[object]:
    return ["scan", given / "sounds", "--out", out / "all.parquet", "--overwrite"]


def _index(given: Path, out: Path) -> list[object]:
    return ["index", given / "model", given / "sounds", "--out", out, "--window", 0.5, "--batch", 1, *ALIKE]


def _finetuned(out: Path) -> dict[str, Any]:
    results = json.loads((out / "results.json").read_text())
    for record in results["records"]:
        del record["details"]["minutes"]
    predictions = {name: array.tobytes() for name, array in np.load(out / "predictions.npz").items()}
    validation = (out / "validation.jsonl").read_text()
    return {"results": results, "validation": validation, **predictions, **outcome(out)}


def _compared(out: Path) -> dict[str, Any]:
    (cell,) = out.glob("cells/aasp_tiny/seed-0")
    scores = {str(path.relative_to(out)): path.read_text() for path in sorted(out.rglob("scores/*.json"))}
    models = {str(path.relative_to(out)): path.read_bytes() for path in sorted(cell.rglob("*.safetensors"))}
    return {**scores, **models}


def _indexed(out: Path) -> dict[str, Any]:
    """Every row with its vector, once."""
    index = Index.open(out)
    assert not list(out.glob("adding-*"))
    return {"rows": index.rows.combine_chunks().to_pydict(), "vectors": np.asarray(index.vectors).tobytes()}


def _whole_index(out: Path) -> None:
    """Once there is an index, it opens, and no moment is in it twice."""
    if (out / "index.json").exists():
        rows = Index.open(out).rows
        moments = list(zip(rows["path"].to_pylist(), rows["start"].to_pylist(), strict=True))
        assert len(set(moments)) == len(moments)


def _no_run(out: Path) -> None:
    """Nothing to be looked at before it is done."""


def _whole_cell(out: Path) -> None:
    for run in out.glob("cells/aasp_tiny/seed-0"):
        check_whole(run)


COMMANDS = {
    "pretrain": Command(_pretrain, outcome, check_whole, 109, 50),
    "finetune": Command(_finetune, _finetuned, check_whole, 106, 10),
    "embed": Command(_embed, lambda out: pq.read_table(out.with_suffix(".parquet")), _no_run, 33, 6),
    "index": Command(_index, _indexed, _whole_index, 170, 6),
    "compare": Command(_compare, _compared, _whole_cell, 204, 8),
    "scan": Command(_scan, lambda out: pq.read_table(out / "all.parquet"), _no_run, 9, 4),
}
