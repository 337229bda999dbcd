"""Exported models: ONNX Runtime in fp32 and in 8-bit integers, against PyTorch and AST, in speed and accuracy.

usage: python benchmarks/deploy.py [MODEL] [--data DATA] [--rounds N] [--threads N]

Speed is for aasp_base with random weights, which do not affect it, on clips of 10 s. Accuracy is for MODEL, a trained
model: its default vectors by each engine with ridge regression, on the ruler's sets as thinned by the ruler; without
MODEL these rows are omitted. Calibration uses clips of the pool.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import aasp
from aasp.audio.sounds import Sound
from aasp.datasets.index import read_index
from aasp.deploy.int8 import int8
from aasp.deploy.onnx import difference, onnx_model, session, write
from aasp.deploy.runtime import onnx_encoder
from aasp.evaluate.features import embedded
from aasp.evaluate.probe import scores
from aasp.evaluate.ridge import ridge_probe
from aasp.model.audio_encoder import AudioEncoder
from aasp.model.embeddings import Embedder
from aasp.pretrain import recipes
from embed import CLIPS, SECONDS, ast
from harness import Row, Spread, alternately, data_folder, options, ratio, report
from ruler_sets import Set, chosen_sets
from sounds import clips

CALIBRATED_WITH = 64


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("model", nargs="?", type=Path, help="a trained model, for accuracy")
    parser.add_argument("--data", type=Path, help="folder of the sets; AASP_DATA when left out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = data_folder(arguments.data)
    pool = [str(path) for path in read_index(str(data / "pool" / "index.csv")).column("path").to_pylist()]
    sounds = pool[:: -(-len(pool) // CALIBRATED_WITH)]
    rows = speed(sounds, arguments.rounds, arguments.threads)
    if arguments.model is not None:
        rows += accuracy(arguments.model, list(chosen_sets("", [], data, False)), sounds, arguments.threads)
    report("deploy", rows, arguments.threads)


def speed(sounds: list[str], rounds: int, threads: int) -> list[Row]:
    torch.manual_seed(0)
    model = AudioEncoder(recipes.get("aasp_base").model).eval()
    proto = onnx_model(model)
    small = int8(proto, model.config, sounds)
    waves = torch.from_numpy(clips(CLIPS, SECONDS))
    given = {"wave": waves.numpy(), "lengths": np.full(CLIPS, waves.shape[1])}
    size = {name: one.ByteSize() / 1e6 for name, one in {"fp32": proto, "int8": small}.items()}

    def run(made: Any) -> Callable[[], object]:
        running = session(made, threads)
        return lambda: running.run(["clip"], given)

    plain = torch.inference_mode()(lambda: model(waves).clip)
    ways = {"AST": ast(CLIPS), "PyTorch": plain, "ONNX fp32": run(proto), "ONNX int8": run(small)}
    took = alternately(ways, rounds)
    second = {name: statistics.median(times) / CLIPS for name, times in took.items()}

    def row(theirs: str, ours: str, reach: str = "") -> Row:
        detail = f"{second[theirs]:.3f} and {second[ours]:.3f} s a clip of {SECONDS:g} s"
        kind = ours.removeprefix("ONNX ")
        return Row(f"{theirs} over {ours}", ratio(took[theirs], took[ours]), reach, f"{detail}; {size[kind]:.0f} MB")

    return [
        row("AST", "ONNX fp32"),
        row("AST", "ONNX int8", ">= 10"),
        row("PyTorch", "ONNX fp32"),
        row("PyTorch", "ONNX int8"),
    ]


def accuracy(folder: Path, sets: Sequence[Set], sounds: list[str], threads: int) -> list[Row]:
    """Percentage points that each engine loses against PyTorch on each set, and their mean."""
    model = aasp.load(folder)
    proto = onnx_model(model)
    engines: dict[str, Embedder] = {"PyTorch": model}
    with tempfile.TemporaryDirectory() as place:
        for name, made in {"fp32": proto, "int8": int8(proto, model.config, sounds)}.items():
            write(made, path := Path(place, f"{name}.onnx"))
            engines[name] = onnx_encoder(path, threads)
    rows: list[Row] = []
    lost: dict[str, list[float]] = {"fp32": [], "int8": []}
    known: dict[str, dict[str, np.ndarray]] = {}  # sets of one index have the same clips
    for one in sets:
        if (source := one.labelled.source) not in known:
            known[source] = {name: _embedded(engine, one.labelled.sounds) for name, engine in engines.items()}
        vectors = known[source]
        probed = {name: ridge_probe({(0, "own"): x}, one.task) for name, x in vectors.items()}
        percent = {name: scores([result])[result.metric].estimate * 100 for name, result in probed.items()}
        unit = {name: x / np.linalg.norm(x, axis=1, keepdims=True) for name, x in vectors.items()}
        for name, found in lost.items():
            lead = scores([probed["PyTorch"]], minus=[probed[name]])[probed[name].metric].percent("+")
            cosine = (unit["PyTorch"] * unit[name]).sum(1).min()
            text = f"{percent['PyTorch']:.1f} and {percent[name]:.1f} %, paired {lead}; cosine at least {cosine:.5f}"
            found.append(percent["PyTorch"] - percent[name])
            rows.append(Row(f"points of {one.name} that ONNX {name} loses", Spread.of(found[-1:]), "", text))
    for name, reach in (("fp32", "<= 0.1"), ("int8", "<= 1")):
        mean = Spread.of([sum(lost[name]) / len(sets)])
        rows.append(Row(f"points that ONNX {name} loses, mean of {len(sets)} sets", mean, reach, "ridge regression"))
    most = Spread.of([difference(model, "whole", session(proto, threads)) / 1e-5])
    rows.append(Row("largest difference from PyTorch, ONNX fp32, × 1e-5", most, "<= 1", "noise, a tone, silence"))
    return rows


def _embedded(encoder: Embedder, sounds: Sequence[Sound]) -> np.ndarray:
    """The model's default vectors, (n, D)."""
    found: dict[int, np.ndarray] = {}
    for rows, embeddings in embedded(encoder, sounds):
        found |= zip(rows, embeddings.clip.numpy(), strict=True)
    return np.stack([found[row] for row in range(len(sounds))])


if __name__ == "__main__":
    main()
