"""
Learning curves
===============

A pre-training run of twenty steps, small enough for this page, and its losses as recorded in ``metrics.jsonl``.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

from aasp.cli.main import main

rng, folder = np.random.default_rng(0), Path(tempfile.mkdtemp())
for number in range(8):
    soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
small = "model.encoder.width=24 model.encoder.depth=2 model.encoder.heads=2 predictor.width=24 predictor.heads=2"
small += " model.vector=2:mean predictor.depth=1 data.batch=4 data.crop_seconds=0.6 masking.views=2"
run = f"pretrain aasp_tiny --data {folder} --out {folder}/run --steps 20 --threads 1 --log-every 1 --precision fp32"
assert main([*run.split(), "--set", *small.split()]) == 0
rows = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for name in ("frame", "utterance", "contrastive", "codes"):
    axes.plot([row["step"] for row in rows], [row[f"losses/{name}"] for row in rows], label=name)
axes.set(xlabel="step", ylabel="loss")
axes.legend()
