"""The arguments of `aasp.embed` as sounds: paths and waveforms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from aasp.audio.channels import Channels, checked
from aasp.audio.sounds import Samples, Sound, chosen
from aasp.errors import AaspError
from aasp.features.waves import as_waves
from aasp.waveforms import MAX_PEAK, MAX_RATE, MIN_RATE

Given = str | os.PathLike[str] | np.ndarray | torch.Tensor


def sounds_of(given: Given | Sequence[Given], rate: int | None, channels: Channels | str = "mean") -> list[Sound]:
    """The arguments of `embed` as sounds.

    Raises:
        AaspError: as `embed` does.
    """
    choice = checked(channels)
    if choice == "each":
        raise AaspError("channels each: a file would have several vectors; choose one channel, or use `aasp embed`")
    several = isinstance(given, list | tuple) or np.ndim(given) > 1  # type: ignore[arg-type]
    things: Sequence[Any] = given if several else [given]  # type: ignore[list-item,assignment]
    if isinstance(given, np.ndarray | torch.Tensor) and given.ndim > 1:
        _check_clips(given)
    if not len(things):
        raise AaspError("nothing to embed: the list is empty; give paths or waveforms")
    paths = [one for one in things if isinstance(one, str | os.PathLike)]
    if rate is not None:
        rate = _checked_rate(rate)
        if len(paths) == len(things):
            raise AaspError(f"rate {rate} with files only, which state their own rate; leave it out")
    return [_sound(one, number, several, rate, choice) for number, one in enumerate(things)]


def _sound(one: Any, number: int, several: bool, rate: int | None, channels: Channels) -> Sound:
    if isinstance(one, str | os.PathLike):
        path = os.fspath(one)
        if not path:
            raise AaspError("an empty file name; give its path")
        if os.path.isdir(path):
            meant = f"sorted(str(file) for file in Path({path!r}).rglob('*.wav'))"
            raise AaspError(f"a folder where a file is expected: {path}; give {meant}, or use `aasp embed`")
        (sound,) = chosen(path, channels)
        return sound
    name = f"array {number}" if several else "array"
    if isinstance(one, np.ndarray | torch.Tensor):
        wave = _tensor(one, name)
        if wave.ndim != 1:
            what = "is no waveform" if wave.ndim == 0 else "has several channels"
            remedy = "" if wave.ndim == 0 else f", say its mean, x.mean({int(np.argmin(wave.shape))})"
            raise AaspError(f"{name} of shape {tuple(wave.shape)} {what}; give one of shape (samples,){remedy}")
        if rate is None:
            raise AaspError(f"{name} has no rate; give that of the samples, as in aasp.embed(wave, rate=44100)")
        return Samples(name, _samples(wave, name), rate)
    raise AaspError(f"{name.replace('array', 'thing')} is of type {type(one).__name__}; give a path or a numpy array")


def _tensor(one: np.ndarray | torch.Tensor, name: str) -> torch.Tensor:
    if isinstance(one, torch.Tensor):
        return one.detach().cpu()
    if one.dtype.kind not in "fiub":
        raise AaspError(f"{name} holds {one.dtype}, not samples; give floats in -1 to 1, or a list of paths")
    native = np.float64 if one.dtype.itemsize > 8 else one.dtype.newbyteorder("=")
    return torch.from_numpy(np.asarray(one, native, order="C"))


def _samples(wave: torch.Tensor, name: str) -> np.ndarray:
    try:
        samples = as_waves(wave[None])[0].float().numpy()
    except AaspError as error:
        raise AaspError(f"{name}: {error}") from None
    if not len(samples):
        raise AaspError(f"{name} holds no samples; leave it out")
    if not np.isfinite(samples).all():
        raise AaspError(f"{name} holds NaN or infinite samples; set them to zero (numpy.nan_to_num)")
    if (peak := np.abs(samples).max()) > MAX_PEAK:
        text = f"{name} reaches {peak:g}, which is not a waveform in -1 to 1"
        raise AaspError(f"{text}; divide by full scale (16-bit samples by 32768)")
    return samples


def _check_clips(given: np.ndarray | torch.Tensor) -> None:
    """Check that an array is (n, S), not (S, channels)."""
    shape = tuple(given.shape)
    if len(shape) > 2 or (shape[0] > max(shape[1], 1) > 0 and shape[1] <= 8):
        meant = "x.mean(1), if these are channels" if len(shape) == 2 else "n waveforms as (n, samples)"
        raise AaspError(f"an array of shape {shape} is not (clips, samples); give {meant}")


def _checked_rate(rate: Any) -> int:
    whole = isinstance(rate, int | float | np.number) and not isinstance(rate, bool) and float(rate).is_integer()
    if not whole or not MIN_RATE <= rate <= MAX_RATE:
        text = f"rate {rate!r} is not a whole number from {MIN_RATE} to {MAX_RATE:,} Hz"
        raise AaspError(f"{text}; give samples per second, as in rate=44100")
    return int(rate)
