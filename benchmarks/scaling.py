"""Growth of cost: with a clip's length, with views, states and taps, with the size of the pool.

usage: python benchmarks/scaling.py [--rounds N] [--threads N]

Each cost is measured at sizes over several orders of magnitude; the expected curve is fitted by least squares of
relative errors with non-negative coefficients, and printed. A row's ratio is the largest relative deviation of a
measurement, the minimum over all rounds, from that curve.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import torch
from scipy.optimize import nnls

from aasp.config import with_fields
from aasp.datasets.index import Skipped
from aasp.datasets.manifest import Manifest
from aasp.datasets.pipeline import CropPipeline
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective
from aasp.stems.aape import AaPE, AaPEConfig
from harness import Row, Spread, alternately, memory_growth, options, report
from sounds import clips

RATE = 16_000
LENGTHS = (5, 10, 20, 60, 180, 600)  # seconds
VIEWS = (1, 2, 4, 8, 16)
STATES = (4, 8, 16, 32, 64)
TAPS = (16, 32, 48, 64, 96)
POOLS = (100, 1_000, 10_000, 100_000, 1_000_000)
LARGE_POOLS = (125_000, 250_000, 500_000, 1_000_000)  # larger than an interpreter's reserve of memory
ALLOWED = "<= 0.25"

Curve = Mapping[str, Callable[[float], float]]
LINEAR: Curve = {"": lambda n: 1.0, " × n": lambda n: n}


def main() -> None:
    arguments = options(__doc__, rounds=3).parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [*lengths(arguments.rounds), *views(arguments.rounds), *stems(arguments.rounds), *pools()]
    report("scaling", rows, arguments.threads)


def row(what: str, sizes: Sequence[float], costs: Sequence[float], curve: Curve, unit: str = "s") -> Row:
    """The fit of a curve to costs at some sizes, and the deviation of the costs from it."""
    design = np.array([[term(size) for term in curve.values()] for size in sizes])
    scale = np.abs(design).max(0)
    coefficients = nnls(design / scale / np.array(costs)[:, None], np.ones(len(costs)))[0] / scale
    deviation = np.abs(design @ coefficients / costs - 1).max()
    fit = " + ".join(f"{c:.3g} {unit}{name}" for c, name in zip(coefficients, curve, strict=True))
    points = ", ".join(f"{size:,}: {cost:.3g}" for size, cost in zip(sizes, costs, strict=True))
    return Row(what, Spread.of([float(deviation)]), ALLOWED, f"{fit}; measured {points} {unit}")


def least(things: Mapping[float, Callable[[], object]], rounds: int) -> list[float]:
    """Minimum seconds of each thing over all rounds."""
    took = alternately({str(size): run for size, run in things.items()}, rounds)
    return [min(times) for times in took.values()]


def lengths(rounds: int) -> list[Row]:
    """Embedding one clip, of 5 s to 10 min, by the tiny transformer in windows of 10.24 s.

    Up to one window the transformer's attention is quadratic; beyond that, the number of windows grows.
    """
    encoder = AudioEncoder(replace(recipes.get("aasp_tiny").model, window_seconds=10.24)).eval()
    wave = torch.from_numpy(clips(1, max(LENGTHS)))
    run = lambda seconds: torch.inference_mode()(lambda: encoder(wave[:, : seconds * RATE]).clip)
    window, subbands = encoder.config.window_patches, encoder.stem.subbands

    def read(seconds: float) -> list[int]:
        """Tokens of each window."""
        columns, _ = encoder.stem.grid(encoder.config.frontend.frames(round(seconds * RATE)))
        if columns <= window:
            return [1 + columns * subbands]
        return [1 + window * subbands] * len(range(0, columns - window // 2, window // 2))

    curve: Curve = {
        "": lambda s: 1.0,
        " × s of sound": lambda s: s,
        " × token": lambda s: sum(read(s)),
        " × token² of a window (attention)": lambda s: sum(n * n for n in read(s)),
    }
    costs = least({seconds: run(seconds) for seconds in LENGTHS}, rounds)
    return [row("embedding a clip, by its seconds", LENGTHS, costs, curve)]


def views(rounds: int) -> list[Row]:
    """A whole training step of aasp_tiny, forward and backward, by the number of masked views."""
    tiny = recipes.get("aasp_tiny")
    wave = torch.from_numpy(clips(8, tiny.data.crop_seconds))
    batch = {"wave": wave, "length": torch.full((len(wave),), wave.shape[1])}

    def run(count: int) -> Callable[[], object]:
        objective = build_objective(with_fields(tiny, {"masking.views": count, "losses.contrastive": 0.0}))
        return lambda: objective(batch)["loss"].backward()

    costs = least({count: run(count) for count in VIEWS}, rounds)
    return [row("training step, by its views", VIEWS, costs, LINEAR)]


def stems(rounds: int) -> list[Row]:
    """The AaPE stem, forward and backward, by its states and its taps."""
    mel = torch.randn(4, 1024, 128)

    def run(**changes: int) -> Callable[[], object]:
        stem = AaPE(192, 128, AaPEConfig(**changes))  # type: ignore[arg-type]
        return lambda: stem(mel).sum().backward()

    states = least({count: run(states=count) for count in STATES}, rounds)
    taps = least({count: run(taps=count) for count in TAPS}, rounds)
    return [row("AaPE, by its states", STATES, states, LINEAR), row("AaPE, by its taps", TAPS, taps, LINEAR)]


def pools() -> list[Row]:
    """A pool's start-up, memory and shuffle, by its number of files; opening a manifest checks every file."""
    opening, shuffling = [], []
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "sound.wav")
        soundfile.write(sound, clips(1, 1.0)[0], RATE)

        def index(count: int) -> str:
            file = Path(folder, f"{count}.parquet")
            pq.write_table(pa.table({"path": [str(sound)] * count, "seconds": [1.0] * count}), file)
            return str(file)

        for count in POOLS:
            opened = _opened(index(count))
            opening.append(min(_seconds(opened) for _ in range(1 if count == max(POOLS) else 3)))
            pipeline = CropPipeline(opened()[0], seconds=0.5, batch=64, seed=0, workers=0)
            shuffling.append(min(_seconds(functools.partial(next, pipeline)) for _ in range(16)))
        memory = [memory_growth(_opened, index(count)) for count in LARGE_POOLS]
    walk: Curve = {"": lambda n: 1.0, " / n (grain's shuffle tries 2^16 places)": lambda n: 1 / n}
    return [
        row("opening a manifest, by its files", POOLS, opening, LINEAR),
        row("memory of opening a manifest, by its files", LARGE_POOLS, memory, LINEAR, "MiB"),
        row("64 shuffled crops, by the pool's files", POOLS, shuffling, walk),
    ]


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _opened(index: str) -> Callable[[], tuple[Manifest, list[Skipped]]]:
    return lambda: Manifest.open(index)


if __name__ == "__main__":
    main()
