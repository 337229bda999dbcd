"""The fine-tuning tables of docs/results.md.

usage: python benchmarks/finetune_results.py MODEL... --data DATA --out FOLDER [--seeds N]
           [--only SET] [--form FORM] [--seed SEED]

MODEL are pre-trained encoders, one per pre-training seed. On each set each of them is fine-tuned with N seeds in four
forms, by one recipe and with equal numbers of steps: fine-tuned, from scratch (the same network, random weights), with
a frozen stem, and the head alone. FOLDER keeps every run; finished ones are not repeated. --only, --form and --seed do
a part of the work, for example on another core; the tables contain all that is finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

import aasp
from aasp.config import with_fields
from aasp.datasets.benchmarks.open import open_labelled
from aasp.evaluate.finetune import recipes
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.results import minutes
from aasp.evaluate.finetune.run import Outcome, finetune
from aasp.evaluate.probe import ProbeResult, scores
from aasp.training.precision import Precision


@dataclass(frozen=True)
class Set:
    """A labelled set, its recipe and the changes to it."""

    name: str
    opened_by: dict[str, str]
    recipe: str
    fields: dict[str, Any]


# With words and lp_ft the last weights are used: with 32 valid clips per fold, choosing would be chance.
NSYNTH = {"crop_seconds": 4.0, "augment.roll_seconds": 0.0}
SETS = [
    Set("esc10", {"split": "fold", "group": "src_file"}, "lp_ft", {}),
    Set("speech_commands_v2_test12", {"split": "split", "group": "speaker"}, "words", {}),
    Set("nsynth_like", {"split": "split", "group": "instrument"}, "lp_ft", NSYNTH),
]
FORMS: dict[str, dict[str, Any]] = {
    "fine-tuned": {},
    "from scratch": {"scratch": True},
    "frozen stem": {"train": "frozen-stem"},
    "head alone": {"train": "head"},
}


def cells(arguments: argparse.Namespace, data: Set, form: str) -> Iterator[tuple[Path, Finetuning]]:
    """Every run of one form on one set: its path and its settings."""
    index = arguments.data / data.name / "index.csv"
    labelled = open_labelled(index=index, label="label", **data.opened_by)
    for number, model in enumerate(arguments.models):
        for seed in range(arguments.seeds) if arguments.seed is None else [arguments.seed]:
            recipe = with_fields(recipes.get(data.recipe), data.fields | {"seed": seed + 100 * number})
            requested = Finetuning(aasp.load(model), str(model), labelled, recipe, FORMS[form].get("scratch", False))
            if "train" in FORMS[form]:
                requested = replace(requested, recipe=replace(recipe, train=FORMS[form]["train"]))
            yield arguments.out / data.name / form.replace(" ", "_") / f"model{number}-seed{seed}", requested


def done(out: Path, requested: Finetuning, precision: Precision) -> Outcome:
    """The cell's outcome, trained now if it is not finished."""
    print(f"{out}", file=sys.stderr, flush=True)
    outcome = finetune(requested, out, workers=1, precision=precision, log_every=25)
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)
    return outcome


def is_done(out: Path) -> bool:
    return (out / "predictions.npz").exists() or len(list(out.glob("fold-*/predictions.npz"))) == 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", choices=[data.name for data in SETS])
    parser.add_argument("--form", choices=list(FORMS))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for data in SETS:
        if arguments.only in (None, data.name):
            for form in FORMS:
                if arguments.form in (None, form):
                    for out, requested in cells(arguments, data, form):
                        done(out, requested, arguments.precision)
    print("| set | form | accuracy, % [95 %] | each run | fine-tuned minus this, paired [95 %] | minutes a run |")
    print("|---|---|---|---|---|---|")
    for data in SETS:
        found: dict[str, list[ProbeResult]] = {}
        for form in FORMS:
            finished = [(out, requested) for out, requested in cells(arguments, data, form) if is_done(out)]
            if not finished:
                continue
            outcomes = [done(out, requested, arguments.precision) for out, requested in finished]
            found[form] = [outcome.result for outcome in outcomes if outcome.result is not None]
            took = np.mean([sum(map(minutes, outcome.folders)) for outcome in outcomes])
            each = ", ".join(f"{100 * result.score:.1f}" for result in found[form])
            compared = form != "fine-tuned" and "fine-tuned" in found
            lead = scores(found["fine-tuned"], minus=found[form])["accuracy"] if compared else None
            text = "" if lead is None else lead.percent("+")
            score = scores(found[form])["accuracy"].percent()
            print(f"| {data.name} | {form} | {score} | {each} | {text} | {took:.1f} |")


if __name__ == "__main__":
    main()
