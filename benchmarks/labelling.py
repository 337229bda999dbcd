"""Labels that `aasp label` needs for an accuracy when uncertain rows are labelled first, against random rows.

usage: python benchmarks/labelling.py INDEX.csv [INDEX.csv ...] [--label LABEL] [--labels 150] [--seeds 5]

Each set is embedded by the package's model and thinned to 1,500 clips; half of its recordings are the pool, the other
half is scored. Both methods start with the same random rows and refit after each 5 labels; the pool's labels are the
oracle. The ratio is the number of labels for the accuracy that random rows reach with --labels, uncertain rows over
random ones, from each seed's running mean over 3 points.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import aasp
from aasp.datasets.manifest import Manifest
from aasp.explore.labelling import components, fitted, least_certain
from aasp.explore.labels_file import Label
from aasp.files import cache_folder
from harness import Row, Spread, report

STEP, MAX_CLIPS, FIRST = 5, 1_500, 10


def curve(x: np.ndarray, y: np.ndarray, pool: np.ndarray, test: np.ndarray, most: int, active: bool) -> list[float]:
    """Accuracy after each 5 labels; `pool` is in random order."""
    chosen, found = pool[:FIRST].tolist(), []
    while True:
        model = fitted(x, [Label(row, y[row], False) for row in chosen])
        found.append(0.0 if model is None else float((model.predict(x[test]) == y[test]).mean()))
        if len(chosen) >= most:
            return found
        for _ in range(STEP):
            free = pool[~np.isin(pool, chosen)]
            chosen.append(int(free[least_certain(model, x[free])[0] if model and active else 0]))
            model = fitted(x, [Label(row, y[row], False) for row in chosen]) if active else model


def labels_to(curve: list[float], goal: float) -> float:
    """Number of labels at which a curve's running mean reaches an accuracy; the maximum if it never does."""
    smooth = np.convolve(np.pad(curve, 1, "edge"), np.ones(3) / 3, "valid")
    there = np.flatnonzero(smooth >= goal)
    return FIRST + STEP * float(there[0] if len(there) else len(curve) - 1)


def measure(file: Path, label: str, most: int, seeds: int) -> Row:
    manifest, _ = Manifest.open(file)
    rows = np.sort(np.random.default_rng(0).permutation(len(manifest))[:MAX_CLIPS])
    kept = cache_folder() / "benchmarks" / f"labelling-{file.parent.name}.npy"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, aasp.embed([manifest.paths[row] for row in rows]))
    x, y = components(np.load(kept)), manifest.column(label)[rows].astype(str)
    ratios, ends = [], []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(y))
        test, pool = order[: len(y) // 2], order[len(y) // 2 :]
        random, active = (curve(x, y, pool, test, min(most, len(pool)), how) for how in (False, True))
        goal = float(np.mean(random[-3:]))
        ratios.append(labels_to(active, goal) / labels_to(random, goal))
        ends.append((goal, float(np.mean(active[-3:]))))
        print(file.parent.name, seed, f"{ratios[-1]:.2f}", [f"{end:.3f}" for end in ends[-1]], flush=True)
    random_end, active_end = np.mean(ends, axis=0)
    note = f"{100 * random_end:.1f} % at random, {100 * active_end:.1f} % uncertain first, {most} labels, {seeds} seeds"
    return Row(f"labels to the same accuracy, {file.parent.name}", Spread.of(ratios), "<= 1", note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--label", default="label")
    parser.add_argument("--labels", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    report("labelling", [measure(one, given.label, given.labels, given.seeds) for one in given.sets], 1)


if __name__ == "__main__":
    main()
