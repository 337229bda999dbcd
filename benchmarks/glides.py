"""Write two labelled sets of sounds whose pitch moves: glides of eight slopes, and vibrato of eight rates.

    python benchmarks/glides.py OUT

A voice is a harmonic tone with its own spectral slope, two resonances and loudness, drawn once. It plays every class,
at a random pitch, and belongs to one split, so that only the movement distinguishes the classes. OUT/glides/index.csv
and OUT/vibrato/index.csv have the columns path, label, split, voice. Source: ours.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 16_000, 2.0
SLOPES = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
"""Octaves per second."""
VIBRATO = (2.5, 3.3, 4.3, 5.6, 7.3, 9.5, 12.4, 16.0)
"""Hz."""
SPLITS = {"train": 30, "valid": 12, "test": 30}
"""Voices."""


Pitch = Callable[[float, np.random.Generator], np.ndarray]


def voice(pitch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A harmonic tone of the given pitch in Hz, shape (samples,), with a timbre drawn from `rng`; its peak is 1."""
    slope, resonances = rng.uniform(0.5, 1.5), rng.uniform((300, 1_000), (1_000, 4_000))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = np.zeros_like(pitch)
    for harmonic in range(1, 33):
        frequency = harmonic * pitch
        gain = harmonic**-slope * (0.2 + sum(1 / (1 + (4 * np.log2(frequency / f)) ** 2) for f in resonances))
        wave += gain * (frequency < 0.45 * RATE) * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    return wave / np.abs(wave).max()


def glide(slope: float, rng: np.random.Generator) -> np.ndarray:
    """The pitch of a glide that passes 200 to 500 Hz at its middle."""
    t = np.arange(round(SECONDS * RATE)) / RATE - SECONDS / 2
    return rng.uniform(200, 500) * 2 ** (slope * rng.uniform(0.9, 1.1) * t)


def vibrato(rate: float, rng: np.random.Generator) -> np.ndarray:
    """The pitch of a vibrato 0.3 to 1 semitone deep in each direction."""
    t = np.arange(round(SECONDS * RATE)) / RATE
    swing = np.sin(2 * np.pi * (rate * rng.uniform(0.95, 1.05) * t + rng.uniform()))
    return rng.uniform(150, 700) * 2 ** (rng.uniform(0.3, 1.0) / 12 * swing)


def write(out: Path, name: str, values: tuple[float, ...], pitch: Pitch) -> None:
    """Write one set and its index; the classes are the values, from which `pitch` draws the pitch of a clip."""
    (out / name).mkdir(parents=True, exist_ok=True)
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    with (out / name / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split", "voice"])
        for number, split in enumerate(splits):
            level = 10 ** (-np.random.default_rng([number, 99]).uniform(3, 20) / 20)
            for label, value in enumerate(values):
                drawn = np.random.default_rng([number, label])
                wave = voice(pitch(value, drawn), np.random.default_rng(number))
                path = f"{number:02d}-{label}.flac"
                soundfile.write(out / name / path, (level * wave).astype(np.float32), RATE, subtype="PCM_16")
                table.writerow([path, f"{value:+g}" if name == "glides" else f"{value:g} Hz", split, number])


if __name__ == "__main__":
    out = Path(sys.argv[1])
    write(out, "glides", SLOPES, glide)
    write(out, "vibrato", VIBRATO, vibrato)
