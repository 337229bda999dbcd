"""Generated tones whose pitch moves, as two labelled sets: sweeps by speed and direction, vibrato by rate.

usage: python benchmarks/sweeps.py OUT

A voice, with its own pitch, harmonics and level, has every class once and is in one part, so that only the movement
distinguishes classes. OUT/sweeps.csv and OUT/vibrato.csv have the columns path, label, split and voice:

    aasp compare … --benchmarks OUT/sweeps.csv:label:split:voice OUT/vibrato.csv:label:split:voice
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS = 16_000, 1.5
VOICES = {"train": 60, "valid": 20, "test": 40}
SWEEPS = (-8.0, -4.0, -2.0, -1.0, 1.0, 2.0, 4.0, 8.0)
"""Octaves per second."""
VIBRATO = (3.0, 3.9, 5.0, 6.5, 8.4, 10.9, 14.1, 18.3)
"""Hz."""
RANGE = (150.0, 2_400.0)
"""Hz; a sweep that reaches one end starts again at the other."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a new folder")
    out = parser.parse_args().out
    out.mkdir(parents=True)
    for name, speeds in (("sweeps", SWEEPS), ("vibrato", VIBRATO)):
        with open(out / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("path", "label", "split", "voice"))
            rows.writerows(_clips(out, name, speeds))


def _clips(out: Path, name: str, speeds: tuple[float, ...]) -> Iterator[tuple[str, str, str, str]]:
    for split, count in VOICES.items():
        for number in range(count):
            for place, speed in enumerate(speeds):
                # The same voice for each speed, and another moment.
                voice = np.random.default_rng([len(name), list(VOICES).index(split), number])
                moment = np.random.default_rng([len(name), list(VOICES).index(split), number, place])
                path = f"{name}/{split}-{number:03d}-{speed:g}.flac"
                (out / path).parent.mkdir(exist_ok=True)
                hertz = (sweep if name == "sweeps" else vibrato)(speed, voice, moment)
                soundfile.write(out / path, tone(hertz, voice), RATE, subtype="PCM_16")
                yield path, f"{speed:g}", split, f"{split} {number}"


def sweep(speed: float, voice: np.random.Generator, moment: np.random.Generator) -> np.ndarray:
    """Frequencies in Hz, (samples,), that change by `speed` octaves per second, give or take a tenth."""
    octaves = np.log2(RANGE[1] / RANGE[0])
    start, jitter = moment.uniform(0, octaves), moment.uniform(0.9, 1.1)
    place = (start + speed * jitter * np.arange(round(SECONDS * RATE)) / RATE) % octaves
    return RANGE[0] * 2**place


def vibrato(rate: float, voice: np.random.Generator, moment: np.random.Generator) -> np.ndarray:
    """Frequencies in Hz, (samples,), around a voice's pitch, that swing `rate` times a second, give or take 5 %."""
    pitch, semitones = 200 * 8 ** voice.uniform(), voice.uniform(0.5, 2.0)
    phase, jitter = moment.uniform(0, 2 * np.pi), moment.uniform(0.95, 1.05)
    swing = np.sin(2 * np.pi * rate * jitter * np.arange(round(SECONDS * RATE)) / RATE + phase)
    return pitch * 2 ** (semitones / 12 * swing)


def tone(hertz: np.ndarray, voice: np.random.Generator) -> np.ndarray:
    """Harmonics of a frequency that changes, those below 7.5 kHz, with noise 30 dB below; float32, (samples,)."""
    slope, level = voice.uniform(0.7, 2.0), 10 ** (-voice.uniform(3, 20) / 20)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    wave = sum(np.sin(k * phase) * (k * hertz < 7_500) / k**slope for k in range(1, 9))
    wave = wave / np.abs(wave).max() + 10 ** (-30 / 20) * voice.standard_normal(len(hertz))
    return (level * wave / np.abs(wave).max()).astype(np.float32)


if __name__ == "__main__":
    main()
