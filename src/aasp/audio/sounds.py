"""What a labelled clip is made of: a file, a part of a file, or files mixed on the fly.

A plain path is the whole file. Nothing is decoded before it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aasp.audio.io import probe, read


@dataclass(frozen=True)
class Excerpt:
    """`seconds` of a file from `start` on (say, a second of background noise)."""

    path: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Ingredient:
    """A file of a mixture: scaled by `gain_db`, and begun `offset` seconds late, its end wrapped round to the start."""

    path: str
    gain_db: float = 0.0
    offset: float = 0.0


@dataclass(frozen=True)
class Mixture:
    """The sum of files, as long as the longest of them; no clipping, no normalisation."""

    ingredients: tuple[Ingredient, ...]


Sound = str | Excerpt | Mixture


def files(sound: Sound) -> tuple[str, ...]:
    """The files that a sound is read from."""
    if isinstance(sound, Mixture):
        return tuple(ingredient.path for ingredient in sound.ingredients)
    return (sound.path if isinstance(sound, Excerpt) else sound,)


def describe(sound: Sound) -> str:
    """What a sound is called in lists and messages."""
    if isinstance(sound, Mixture):
        return " + ".join(files(sound))
    return f"{sound.path} at {sound.start:g} s" if isinstance(sound, Excerpt) else sound


def duration(sound: Sound) -> float:
    """Seconds of a sound, from its files' headers.

    Raises:
        AudioError: a file can't be used.
    """
    if isinstance(sound, Excerpt):
        return sound.seconds
    return max(probe(path).seconds for path in files(sound))


def read_sound(sound: Sound, *, rate: int = 16_000, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """Decode a sound, or the part of it from `start` on: mono float32 (samples,).

    Raises:
        AudioError: a file can't be used.
    """
    if isinstance(sound, str):
        return read(sound, rate=rate, start=start, seconds=seconds)
    if isinstance(sound, Excerpt):
        left = sound.seconds - start
        return read(
            sound.path, rate=rate, start=sound.start + start, seconds=left if seconds is None else min(seconds, left)
        )
    waves = [_rolled(ingredient, rate) for ingredient in sound.ingredients]
    mixed = np.zeros(max(map(len, waves)), dtype=np.float32)
    for wave in waves:
        mixed[: len(wave)] += wave
    first = round(start * rate)
    return mixed[first:] if seconds is None else mixed[first : first + round(seconds * rate)]


def _rolled(ingredient: Ingredient, rate: int) -> np.ndarray:
    wave = read(ingredient.path, rate=rate) * np.float32(10 ** (ingredient.gain_db / 20))
    return np.roll(wave, round(ingredient.offset * rate))
