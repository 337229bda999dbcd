"""Embedding from files, decoded ahead, against embedding waveforms in memory.

usage: python benchmarks/embed_files.py [--rounds N] [--threads N]

The model computes on `--threads` threads, 1 by default here; decoding has the other cores. Files are 10 s long, new to
the reader each time: FLAC mono at 16 kHz, typical of data sets, MP3 and Ogg in stereo at 44.1 kHz, typical of music.
Weights are random, which does not affect speed.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from aasp.audio import compressed, ffmpeg, mpeg
from aasp.audio.sounds import Samples, Sound
from aasp.evaluate.features import Running
from aasp.evaluate.vectors import VectorRequest, vectors
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain import recipes
from harness import Row, alternately, options, ratio, report
from sounds import clips

SECONDS, FILES = 10.0, 48
RATE = 16_000
FORMATS = {"FLAC at 16 kHz": ("flac", RATE), "Ogg at 44.1 kHz": ("ogg", 44_100), "MP3 at 44.1 kHz": ("mp3", 44_100)}
MODELS = {"aasp_tiny": FILES, "aasp_base": 4}  # and the number of clips per turn


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.set_defaults(threads=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: _write(Path(folder), *how) for name, how in FORMATS.items()}
        rows = [row for model in MODELS for row in compared(model, files, arguments.rounds)]
    report("embed_files", rows, arguments.threads)


def _write(folder: Path, suffix: str, rate: int) -> list[str]:
    paths = []
    for number, wave in enumerate(clips(FILES, SECONDS, rate)):
        paths.append(str(folder / f"{number}.{suffix}"))
        soundfile.write(paths[-1], wave if rate == RATE else np.stack([wave, 0.8 * wave], axis=1), rate)
    return paths


def compared(model: str, files: dict[str, list[str]], rounds: int) -> list[Row]:
    """One model, all formats against memory."""
    encoder, count = AudioEncoder(recipes.get(model).model).eval(), MODELS[model]
    memory: list[Sound] = [Samples(str(n), wave, RATE) for n, wave in enumerate(clips(count, SECONDS))]
    things: dict[str, Callable[[], None]] = {"memory": lambda: _embed(encoder, memory)}
    for name, paths in files.items():
        things[name] = lambda paths=paths: _embed(encoder, paths[:count])
    took = alternately(things, rounds)
    speed = {name: count * SECONDS / statistics.median(times) for name, times in took.items()}
    text = lambda name: f"{speed[name]:.0f} and {speed['memory']:.0f} seconds of audio a second"
    return [
        Row(f"{model} from {name} over from memory", ratio(took["memory"], took[name]), ">= 0.9", text(name))
        for name in files
    ]


def _embed(encoder: AudioEncoder, sounds: list[Sound]) -> None:
    def refuse(row: int, error: Exception) -> None:
        raise error

    for known in (ffmpeg._index, compressed._parts, mpeg._frames):
        known.cache_clear()
    for _ in vectors(encoder, sounds, refuse, VectorRequest(), Running()):
        pass


if __name__ == "__main__":
    main()
