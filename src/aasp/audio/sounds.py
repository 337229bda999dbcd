"""The source of a clip: a file, one of its channels, a part of a file, files mixed on the fly, or samples in memory.

A plain path is the whole file, its channels averaged. Decoding happens only on reading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aasp.audio.channels import Channels
from aasp.audio.io import AudioError, probe, read, resampled
from aasp.errors import AaspError


@dataclass(frozen=True)
class Recording:
    """A whole file, read with the choice `channels` (`aasp.audio.channels`; not "each")."""

    path: str
    channels: Channels


@dataclass(frozen=True)
class Excerpt:
    """`seconds` of a file from `start` on (for example a second of background noise)."""

    path: str
    start: float
    seconds: float
    channels: Channels = "mean"


@dataclass(frozen=True)
class Ingredient:
    """A file of a mixture: scaled by `gain_db` and delayed circularly by `offset` seconds."""

    path: str
    gain_db: float = 0.0
    offset: float = 0.0
    channels: Channels = "mean"


@dataclass(frozen=True)
class Mixture:
    """The sum of files, as long as the longest; no clipping, no normalisation."""

    ingredients: tuple[Ingredient, ...]


@dataclass(frozen=True, eq=False)
class Samples:
    """A waveform in memory: float32 (samples,) in -1..1, with its rate and name."""

    name: str
    wave: np.ndarray
    rate: int


Sound = str | Recording | Excerpt | Mixture | Samples


def chosen(sound: Sound, channels: Channels) -> list[Sound]:
    """A sound with a choice of channels: one sound, or, for "each", one for every channel of its file.

    Raises:
        AudioError: for "each", the file can't be used.
        AaspError: "each" of a mixture, whose files may have different numbers of channels.
    """
    if channels == "mean" or isinstance(sound, Samples):
        return [sound]
    if isinstance(sound, Mixture):
        if channels == "each":
            raise AaspError("channels each is not possible for mixtures; choose mean, first, loudest or a number")
        return [Mixture(tuple(replace(one, channels=channels) for one in sound.ingredients))]
    one = Recording(sound, channels) if isinstance(sound, str) else replace(sound, channels=channels)
    if channels != "each":
        return [one]
    return [replace(one, channels=number) for number in range(1, probe(one.path).channels + 1)]


def channels_of(sound: Sound) -> Channels:
    """The choice of channels of a sound; for a mixture, that of its first file."""
    one = sound.ingredients[0] if isinstance(sound, Mixture) else sound
    return "mean" if isinstance(one, str | Samples) else one.channels


def files(sound: Sound) -> tuple[str, ...]:
    """The files that a sound is read from."""
    if isinstance(sound, Mixture):
        return tuple(ingredient.path for ingredient in sound.ingredients)
    if isinstance(sound, Samples):
        return ()
    return (sound if isinstance(sound, str) else sound.path,)


def describe(sound: Sound) -> str:
    """A sound's name in lists and messages."""
    if isinstance(sound, str):
        return sound
    if isinstance(sound, Samples):
        return sound.name
    if isinstance(sound, Mixture):
        return " + ".join(files(sound))
    place = f" at {sound.start:g} s" if isinstance(sound, Excerpt) else ""
    return f"{sound.path}{place}" + (f" channel {sound.channels}" if isinstance(sound.channels, int) else "")


def duration(sound: Sound) -> float:
    """Seconds of a sound, from its files' headers.

    Raises:
        AudioError: a file can't be used.
    """
    if isinstance(sound, Excerpt):
        return sound.seconds
    if isinstance(sound, Samples):
        return len(sound.wave) / sound.rate
    return max(probe(path).seconds for path in files(sound))


def read_sound(sound: Sound, *, rate: int = 16_000, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """Decode a sound, or the part from `start` on: mono float32 (samples,).

    A part equals the same slice of the whole, as in `aasp.audio.io.read`.

    Raises:
        AudioError: a file can't be used, it has no content below half the rate, so that a model of that rate would
            process it as silence, or the part begins outside the sound.
    """
    if isinstance(sound, str):
        return read(sound, rate=rate, start=start, seconds=seconds, check_audible=True)
    if isinstance(sound, Recording):
        window = dict(start=start, seconds=seconds, channels=sound.channels)
        return read(sound.path, rate=rate, check_audible=True, **window)  # type: ignore[arg-type]
    if isinstance(sound, Excerpt):
        first, last = _window(sound, round(sound.seconds * rate), rate, start, seconds)
        begin = round(sound.start * rate) + first  # in samples: rounding a sum is not summing two roundings
        window = dict(start=begin / rate, seconds=(last - first) / rate, channels=sound.channels)
        return read(sound.path, rate=rate, check_audible=True, **window)  # type: ignore[arg-type]
    if isinstance(sound, Samples):
        wave = resampled(sound.wave, sound.rate, rate, describe(sound))
        first, last = _window(sound, len(wave), rate, start, seconds)
        return wave[first:last]
    waves = [_rolled(ingredient, rate) for ingredient in sound.ingredients]
    first, last = _window(sound, max(map(len, waves)), rate, start, seconds)
    mixed = np.zeros(max(map(len, waves)), dtype=np.float32)
    for wave in waves:
        mixed[: len(wave)] += wave
    return mixed[first:last]


def _window(sound: Sound, samples: int, rate: int, start: float, seconds: float | None) -> tuple[int, int]:
    """First sample of a window and the one after its last, within `samples`."""
    assert seconds is None or seconds > 0
    first = round(start * rate)
    if not 0 <= first < samples:
        reason = f"window at {start:g} s is outside its {samples / rate:g} s"
        raise AudioError(describe(sound), reason, "choose an earlier start")
    return first, samples if seconds is None else min(samples, first + round(seconds * rate))


def _rolled(ingredient: Ingredient, rate: int) -> np.ndarray:
    wave = read(ingredient.path, rate=rate, channels=ingredient.channels) * np.float32(10 ** (ingredient.gain_db / 20))
    return np.roll(wave, round(ingredient.offset * rate))
