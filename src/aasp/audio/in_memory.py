"""A clip as other libraries pass it: samples and their rate, the bytes of a file, or its path."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aasp.audio.channels import Channels, mixed
from aasp.audio.io import read, resampled
from aasp.errors import AaspError
from aasp.waveforms import FULL_SCALE, MAX_RATE, MIN_RATE


def given_wave(item: Any, rate: int, what: str, channels: Channels = "mean") -> np.ndarray:
    """A clip as mono float32 samples (S,).

    Args:
        item: a mapping, or an object with the same access, with "array" (or "raw") and "sampling_rate", the array of
            shape (S,) or (channels, S); or with "bytes" or "path", as
            `datasets.Audio(decode=False)` gives them; or the bytes or the path alone.
        rate: samples per second of the result.
        what: the clip's name in messages.
        channels: the channel of several.

    Raises:
        AaspError: it is something else, can't be decoded, or lies entirely above half the rate.
    """
    if isinstance(item, (str, os.PathLike)):
        return read(item, rate=rate, channels=channels, check_audible=True)
    if isinstance(item, (bytes, bytearray)):
        return _decoded(bytes(item), "clip", rate, channels)
    if isinstance(item, Mapping) and not {"array", "raw"} & item.keys():
        if item.get("bytes") is not None:
            return _decoded(item["bytes"], item.get("path") or "clip", rate, channels)
        if item.get("path"):
            return read(item["path"], rate=rate, channels=channels, check_audible=True)
        raise AaspError(f"{what} has neither array, bytes nor path; give one of them")
    try:
        raw = item["raw"] if isinstance(item, Mapping) and "raw" in item else item["array"]
        own = float(item["sampling_rate"])
    except (TypeError, KeyError, ValueError, IndexError):
        text = f"{what} is {type(item).__name__}, not a clip with an array and its sampling_rate"
        raise AaspError(f"{text}; give {{'array': samples, 'sampling_rate': hertz}}") from None
    if not MIN_RATE <= own <= MAX_RATE:
        raise AaspError(f"{what} has a sampling_rate of {own:g}; give samples per second, {MIN_RATE} to {MAX_RATE:,}")
    return resampled(mono(raw, what, channels), own, rate, what)


def mono(samples: Any, what: str, channels: Channels = "mean") -> np.ndarray:
    """Samples of any supported form as mono float32 (S,).

    Args:
        samples: floats in -1..1 or int16, shape (S,) or (channels, S).
        what: their name in messages.
        channels: the channel of several, as of a file.

    Raises:
        AaspError: they have another shape or a dtype without a known scale.
    """
    wave = floats(samples, what)
    if wave.ndim not in (1, 2) or (wave.ndim == 2 and not 0 < wave.shape[0] <= wave.shape[1]):
        raise AaspError(f"{what} has shape {wave.shape}; give (samples,) or (channels, samples)")
    if wave.ndim == 1:
        return wave
    return mixed(what, wave.T, channels, wave.T)


def floats(samples: Any, what: str) -> np.ndarray:
    """Samples of any shape as float32, int16 scaled.

    Args:
        samples: floats in -1..1 or int16.
        what: their name in messages.

    Raises:
        AaspError: their dtype has no known scale, or they are not samples.
    """
    if hasattr(samples, "detach"):  # a tensor: NumPy takes none with gradients, on a device or in bf16
        samples = samples.detach().cpu()
        samples = samples.float() if samples.is_floating_point() else samples
    try:
        wave = np.asarray(samples)
    except ValueError:  # lists of different lengths
        raise AaspError(f"{what} is not an array; give (samples,) or (channels, samples)") from None
    if wave.dtype == np.int16:
        wave = wave / np.float32(FULL_SCALE)
    if wave.dtype.kind != "f":
        raise AaspError(f"{what} is of {wave.dtype}, whose scale is unknown; give floats in -1 to 1")
    return wave.astype(np.float32)


def _decoded(content: bytes, name: str, rate: int, channels: Channels) -> np.ndarray:
    """The sound in a file's bytes; the ending of its name selects the format."""
    with tempfile.TemporaryDirectory() as folder:
        suffix = re.sub(r"[^.A-Za-z0-9]", "", Path(name).suffix)[:12]  # the rest of the name may be a path, or too long
        file = Path(folder) / f"clip{suffix}"
        file.write_bytes(content)
        try:
            return read(file, rate=rate, channels=channels, check_audible=True)
        except AaspError as error:  # messages must not name our temporary folder
            raise AaspError(str(error).replace(str(file), Path(name).name or "clip")) from None
