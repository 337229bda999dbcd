"""From files to batches of log-mel, and training from files against training on batches kept in memory.

usage: python benchmarks/pipeline.py [--rounds N] [--threads N]

The first rows are for one core: sound files of 10 s, mono at 16 kHz and stereo above, to log-mel batches at 16 kHz,
compared with soundfile alone decoding the same files; the rest is mixing, resampling, checks and log-mel. The last
rows are for all cores: steps of aasp_tiny on random crops that two threads decode meanwhile, without a cache.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
import torch

from aasp.datasets.manifest import Manifest
from aasp.datasets.pipeline import CropPipeline
from aasp.features.logmel import LogMel
from aasp.pretrain import recipes
from harness import Row, alternately, options, ratio, report
from sounds import clips
from steps import stepper

FORMATS, RATES = ("flac", "ogg", "mp3"), (16_000, 44_100, 48_000)
FILES, SECONDS, COPIES = 8, 10.0, 64  # a set lists each file this often
TRAINED_ON = (("flac", 16_000, ">= 0.9"), ("mp3", 44_100, ""))
TURN_SECONDS = 5.0  # much longer than the pipeline's read-ahead


def main() -> None:
    arguments = options(__doc__, rounds=5).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = {(suffix, rate): _write(Path(folder), suffix, rate) for suffix in FORMATS for rate in RATES}
        torch.set_num_threads(1)
        rows = [decoding(sets[suffix, rate], suffix, rate, arguments.rounds) for suffix, rate in sets]
        torch.set_num_threads(arguments.threads)
        rows += training(sets, arguments.rounds)
    report("pipeline", rows, arguments.threads)


def _write(folder: Path, suffix: str, rate: int) -> Path:
    """A folder of sound files."""
    files = folder / f"{suffix}-{rate}"
    files.mkdir()
    for number, wave in enumerate(clips(FILES, SECONDS, rate)):
        stereo = np.stack([wave, 0.8 * wave], axis=1)
        soundfile.write(files / f"{number}.{suffix}", wave if rate == 16_000 else stereo, rate)
    return files


def _set_of(folder: Path) -> Manifest:
    """A set of realistic size: grain's shuffle takes 2 ms per position among 16, 5 us among 10,000."""
    manifest, _ = Manifest.open(folder)
    return Manifest(pa.concat_tables([manifest.table] * COPIES), manifest.source)


def decoding(folder: Path, suffix: str, rate: int, rounds: int) -> Row:
    """Whole files of one format on one core."""
    manifest = _set_of(folder)
    paths = manifest.paths[:FILES]
    front, batch = LogMel(), FILES
    pipeline = CropPipeline(manifest, seconds=SECONDS, batch=batch, seed=0, workers=0)

    @torch.inference_mode()
    def ours() -> None:
        crops = next(pipeline)
        front(crops["wave"], crops["length"])

    took = alternately({"soundfile": lambda: [soundfile.read(p, dtype="float32") for p in paths], "ours": ours}, rounds)
    speed = {name: FILES * SECONDS / 3600 / statistics.median(times) for name, times in took.items()}
    return Row(
        f"{suffix} at {rate / 1000:g} kHz, soundfile's decoding over files to log-mel",
        ratio(took["soundfile"], took["ours"]),
        detail=f"{speed['ours']:.2f} hours of audio a second and core; soundfile alone {speed['soundfile']:.2f}",
    )


def training(sets: dict[tuple[str, int], Path], rounds: int) -> list[Row]:
    """Steps from files against steps on batches kept in memory."""
    recipe = recipes.get("aasp_tiny")
    size = dict(seconds=recipe.data.crop_seconds, batch=recipe.data.batch, seed=0)

    def opened(folder: Path) -> CropPipeline:
        return CropPipeline(_set_of(folder), **size, workers=2)  # type: ignore[arg-type]

    kept = itertools.cycle(list(itertools.islice(opened(sets["flac", 16_000]), 8)))
    step = stepper(recipe, "auto", torch.device("cpu"))
    things: dict[str, Callable[[], object]] = {"memory": lambda: step(next(kept))}
    for suffix, rate, _ in TRAINED_ON:
        files = opened(sets[suffix, rate])
        things[f"{suffix} {rate}"] = lambda files=files: step(next(files))
    took = alternately(things, rounds, seconds=TURN_SECONDS)
    clips_a_second = {name: recipe.data.batch / statistics.median(times) for name, times in took.items()}
    return [
        Row(
            f"aasp_tiny, training from {suffix} at {rate / 1000:g} kHz over training on batches in memory",
            ratio(took["memory"], took[f"{suffix} {rate}"]),
            reach,
            f"{clips_a_second[f'{suffix} {rate}']:.0f} and {clips_a_second['memory']:.0f} crops of "
            f"{recipe.data.crop_seconds:g} s a second",
        )
        for suffix, rate, reach in TRAINED_ON
    ]


if __name__ == "__main__":
    main()
