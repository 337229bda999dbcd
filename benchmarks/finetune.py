"""Duration of fine-tuning on esc10: aasp_tiny, the recipe `lp_ft`, one of the five folds.

usage: python benchmarks/finetune.py [--data DATA] [--threads N] [--rounds N]

DATA, or $AASP_DATA, contains the folder `esc10`. Weights are random, which does not affect speed. A round trains and
scores one fold, from start to predictions; the ratio is the total time over that of its training steps.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from aasp.datasets.benchmarks.open import open_labelled
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.recipes import lp_ft
from aasp.evaluate.finetune.run import finetune
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.training.tracking import read_metrics
from harness import Row, Spread, data_folder, options, ratio, report


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    labelled = open_labelled("esc10", str(data_folder(arguments.data) / "esc10"))
    first = labelled.parts[0]
    labelled = replace(labelled, parts=["test" if fold == first else "train" for fold in labelled.parts])
    torch.manual_seed(0)
    encoder = AudioEncoder(recipes.get("aasp_tiny").model)
    recipe = lp_ft()
    whole, training = [], []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            finetune(Finetuning(encoder, "random", labelled, recipe), Path(folder) / "run", workers=1, log_every=10)
            whole.append(time.perf_counter() - began)
            speed = [line["clips_per_second"] for line in read_metrics(Path(folder) / "run")]
            training.append(recipe.steps * recipe.batch * Spread.of([1 / s for s in speed]).median)
    text = f"{Spread.of(whole).median / 60:.2g} minutes a fold, {5 * Spread.of(whole).median / 60:.2g} for the five"
    what = f"one fold, {recipe.steps} steps of {recipe.batch} clips: all of it over its training steps"
    report("finetune", [Row(what, ratio(whole, training), "", text)], arguments.threads)


if __name__ == "__main__":
    main()
