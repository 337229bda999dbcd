"""Sound files decoded in this process, with the guarantees of `aasp.audio.io`.

Uncompressed files and FLAC are decoded by libsndfile (through soundfile), all others by ffmpeg (through PyAV); both
are resampled by soxr's HQ filter. A window costs only its own decoding. An incomplete file is refused, not shortened:
half a download is half a clip with a full clip's label.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from aasp.audio.channels import Channels, checked, mixed
from aasp.audio.error import AudioError
from aasp.audio.formats import Track, family, opened
from aasp.errors import AaspError
from aasp.waveforms import MAX_PEAK

# Input samples on each side of a window, counted at the lower of the two rates: soxr HQ's taps reach about 70.
_MARGIN = 160
# A sound that loses this many dB in resampling lies above the new band: bats, whistles.
_INAUDIBLE_DB = 40.0
# Seconds decoded at a time when samples are discarded.
_PART_SECONDS = 600.0


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: its length in seconds and in frames, its rate in Hz, its channel count."""

    path: str
    seconds: float
    rate: int
    channels: int
    frames: int


def probe(path: str, name: str) -> AudioInfo:
    """Read a file's header: see `aasp.audio.io.probe`, also for errors. `name` is the sound's name in messages."""
    with opened(path) as track:
        track.check_whole()
        seconds = track.frames / track.rate
        return AudioInfo(name, seconds, track.stated_rate, track.channels, round(seconds * track.stated_rate))


def read(
    path: str,
    name: str,
    *,
    rate: int = 16_000,
    start: float = 0.0,
    seconds: float | None = None,
    channels: Channels = "mean",
    check_audible: bool = False,
) -> np.ndarray:
    """Decode a file, or a window of it: see `aasp.audio.io.read` for arguments and errors.

    `name` is the sound's name in the warning about cancelling channels.
    """
    if rate <= 0 or start < 0 or (seconds is not None and seconds <= 0):
        window = f"rate {rate}, start {start}, seconds {seconds}"
        raise AaspError(f"no such window: {window}; give a positive rate and length and no negative start")
    channels = checked(channels)
    with opened(path) as track:
        if seconds is None:
            track.check_whole()
        native, frames = track.rate, track.frames
        length = (2 * frames * rate + native) // (2 * native)
        first = round(start * rate)
        last = length if seconds is None else min(length, first + round(seconds * rate))
        if first >= last:
            reason = f"window at {start:g} s is outside its {frames / native:g} s"
            raise AudioError(name, reason, "choose an earlier start")
        if native == rate:
            return _decode(name, track, first, last, channels)
        # Start at a time on both sample grids, so that the window's samples are those of the whole file.
        shared = math.gcd(native, rate)
        margin = math.ceil(_MARGIN * max(1.0, native / rate))
        meeting = max(0, first * native // rate - margin) // (native // shared)
        begin, end = meeting * (native // shared), min(frames, math.ceil(last * native / rate) + margin)
        offset = first - meeting * (rate // shared)
        decoded = _decode(name, track, begin, end, channels)
        wave = soxr.resample(decoded.T, native, rate).T
        if check_audible and native > rate:
            _check_audible(name, decoded, wave, rate)
        return np.ascontiguousarray(wave[..., offset : offset + last - first])


def check_decodes(path: str, name: str, rate: int, seconds: float) -> None:
    """Decode a file of the given rate and length to its end: `aasp.audio.io.check_decodes`."""
    for part in range(max(1, math.ceil(seconds / _PART_SECONDS))):
        whole = seconds <= _PART_SECONDS
        window = dict(start=part * _PART_SECONDS, seconds=None if whole else _PART_SECONDS)
        check_loud(name, read(path, name, rate=rate, channels="each", **window))  # type: ignore[arg-type]


def check_loud(name: str, wave: np.ndarray) -> None:
    """Check that samples are a waveform: a model would refuse their whole batch, and a training would diverge.

    Raises:
        AudioError: they are far beyond full scale.
    """
    if (peak := float(np.abs(wave).max(initial=0.0))) > MAX_PEAK:
        reason = f"samples reach {peak:g}, which is not a waveform in -1 to 1"
        raise AudioError(name, reason, "divide it by its full scale")


def codec(path: str) -> str:
    """A file's format and codec as text."""
    try:
        found = soundfile.info(path)
        return f"{found.format_info}, {found.subtype_info}"
    except soundfile.LibsndfileError:
        return family(path).name


def resampled(wave: np.ndarray, native: float, rate: int, name: str) -> np.ndarray:
    """A whole waveform (samples,) at another rate, resampled as `read` does.

    Args:
        wave: the samples.
        native: their rate, in Hz.
        rate: the new rate, in Hz.
        name: the waveform's name in messages.

    Raises:
        AudioError: it has no content below half the new rate.
    """
    if native == rate:
        return wave
    length = int((2 * len(wave) * rate + native) // (2 * native))
    found = np.ascontiguousarray(soxr.resample(wave, native, rate)[:length])
    if native > rate and len(found):
        _check_audible(name, wave, found, rate)
    return found


def _decode(path: str, track: Track, begin: int, end: int, channels: Channels) -> np.ndarray:
    """Samples [begin, end) at the file's own rate: float32 (samples,), or (channels, samples) for each."""
    frames_FC = track.decode(begin, end)
    loudest = channels == "loudest" and track.channels > 1 and (begin, end) != (0, track.frames)
    wave = mixed(path, frames_FC, channels, track.decode(0, track.frames) if loudest else frames_FC)
    if not np.isfinite(wave).all():
        raise AudioError(path, "NaN or infinite samples", "set them to zero (numpy.nan_to_num) and save it again")
    return wave


def _check_audible(path: str, decoded: np.ndarray, resampled: np.ndarray, rate: int) -> None:
    """Refuse a sound that would be silent at a lower rate, and would be embedded as silence."""
    before, after = (float(np.mean(np.square(wave, dtype=np.float64))) for wave in (decoded, resampled))
    if after < before * 10 ** (-_INAUDIBLE_DB / 10):
        reason = f"its sound lies above {rate / 2:,.0f} Hz, of which nothing is left at a rate of {rate:,} Hz"
        raise AudioError(path, reason, "take a model of a higher rate (`aasp recipes`), or leave it out")
