"""How a file's channels are mixed or selected.

`mean` uses weights that preserve a sound in a single channel: the mean of two; five to eight are treated as surround
sound (ITU-R BS.775: centre 0.71, front 0.5, the others, the low-frequency channel included, 0.35); any other number N
has weight 1 / sqrt(2 N), which extends the mean of two.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import Literal

import numpy as np

from aasp.audio.error import AudioError
from aasp.errors import AaspError

Channels = Literal["mean", "first", "loudest", "each"] | int
"""How channels are chosen; a number counts from 1."""

_NAMES = ("mean", "first", "loudest", "each")
_SURROUND = np.array([0.5, 0.5, math.sqrt(0.5), *[math.sqrt(0.125)] * 5], dtype=np.float32)  # L, R, C, LFE, …
# Channels cancel if their mean has this many dB less energy than they have.
CANCELLING_DB = 20.0

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_cancelled: dict[str, float] = {}


def checked(channels: Channels | str) -> Channels:
    """A choice of channels from text or a number, "2" for the second.

    Raises:
        AaspError: there is no such choice.
    """
    chosen: object = channels
    if isinstance(channels, str):
        name = channels.strip().lower()
        chosen = int(name) if name.isdecimal() else name
    if chosen in _NAMES and isinstance(chosen, str):
        return chosen  # type: ignore[return-value]
    if isinstance(chosen, bool) or not isinstance(chosen, int) or chosen < 1:
        raise AaspError(f"no such channels: {channels}; give {', '.join(_NAMES)}, or a channel's number from 1 on")
    return chosen


def mixed(path: str, frames_FC: np.ndarray, channels: Channels, whole_FC: np.ndarray) -> np.ndarray:
    """One channel of a file, (samples,) float32; for "each" all of them, (channels, samples).

    Args:
        path: the file, for messages.
        frames_FC: its samples (samples, channels).
        channels: the choice.
        whole_FC: samples from which the loudest channel is chosen.

    Raises:
        AudioError: the file has no such channel.
    """
    count = frames_FC.shape[1]
    if channels == "each":
        return np.ascontiguousarray(frames_FC.T)
    if channels == "mean":
        return _mean(path, frames_FC)
    if channels == "loudest":
        return np.ascontiguousarray(frames_FC[:, int(np.einsum("fc,fc->c", whole_FC, whole_FC).argmax())])
    number = 1 if channels == "first" else channels
    if number > count:
        raise AudioError(path, f"has no channel {number}, only {count}", "choose another, or mean")
    return np.ascontiguousarray(frames_FC[:, number - 1])


def cancelled() -> dict[str, float]:
    """Files with a part that nearly cancels in the mean of its channels, and by how many dB its level drops."""
    with _lock:
        return dict(_cancelled)


def take_cancelled() -> dict[str, float]:
    """`cancelled`, then cleared: the files that one command read."""
    with _lock:
        found = dict(_cancelled)
        _cancelled.clear()
        return found


def forget_cancelled(path: str) -> float | None:
    """The entry of `cancelled` for one file, then cleared; None if there is none."""
    with _lock:
        return _cancelled.pop(path, None)


def _mean(path: str, frames_FC: np.ndarray) -> np.ndarray:
    count = frames_FC.shape[1]
    if count == 1:
        return frames_FC[:, 0]
    if count == 2:  # the exact mean; numpy takes twenty times as long over rows of two
        wave = (frames_FC[:, 0] + frames_FC[:, 1]) * np.float32(0.5)
    elif 5 <= count <= len(_SURROUND):
        wave = frames_FC @ _SURROUND[:count]
    else:
        wave = frames_FC.sum(axis=1) * np.float32(1 / math.sqrt(2 * count))
    flat = frames_FC.reshape(-1)
    channels, mean = float(np.dot(flat, flat)) / count, float(np.dot(wave, wave))
    if mean <= channels * 10 ** (-CANCELLING_DB / 10) and 0 < channels < math.inf:
        note_cancelled(path, 10 * math.log10(channels / mean) if mean else math.inf)
    return wave


def note_cancelled(path: str, decibels: float) -> None:
    """Record for `cancelled`, and log the first time, by how many dB a file's mean is below its channels."""
    with _lock:
        known = path in _cancelled
        _cancelled[path] = max(decibels, _cancelled.get(path, 0.0))
    if not known:
        fall = "silence" if decibels == math.inf else f"{decibels:.0f} dB less than they have"
        _log.warning(f"{path}: its channels cancel in their mean: {fall}; choose channels first, loudest or a number")
