"""Sound files of any format, rate and channel count to mono float32.

Uncompressed samples are read here; codecs are decoded in a separate process (`aasp.audio.decoder_process`), so that a
decoder that hangs or crashes costs one file and not the run.
"""

from __future__ import annotations

import os

import numpy as np

from aasp.audio import decoder_process, reading
from aasp.audio.channels import Channels
from aasp.audio.error import AudioError
from aasp.audio.formats import EXTENSIONS
from aasp.audio.packed import on_disk
from aasp.audio.reading import AudioInfo, resampled

__all__ = ["EXTENSIONS", "AudioError", "AudioInfo", "check_decodes", "codec", "probe", "read", "resampled"]


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a file's header, and enough of its end to know that the file is complete; decode very little else.

    Args:
        path: the file, or its address (`aasp.audio.packed`).

    Raises:
        AudioError: the file is missing, empty, truncated, of zero length or 0 Hz, not audio, or not what its
            extension says; or its decoder hangs or crashes.
    """
    name = checked_name(os.fspath(path))
    with on_disk(name) as file:
        if not decoder_process.is_suspect(file):
            return reading.probe(file, name)
        return AudioInfo(**decoder_process.call("probe", file, name=name))


def read(
    path: str | os.PathLike[str],
    *,
    rate: int = 16_000,
    start: float = 0.0,
    seconds: float | None = None,
    channels: Channels = "mean",
    check_audible: bool = False,
) -> np.ndarray:
    """Decode a file, or a window of it, at the wanted rate.

    A window equals the same slice of the whole file's samples: exactly at the file's own rate, to rounding when
    resampled; lossy codecs restart inside the stream and may differ by about 1e-3.

    Args:
        path: the file, or its address (`aasp.audio.packed`).
        rate: samples per second of the result.
        start: the beginning of the window, in seconds.
        seconds: its length; None reads to the end.
        channels: what becomes of several channels (`aasp.audio.channels`): their mean, the first, the loudest of the
            whole file, one by its number from 1 on, or each of them.
        check_audible: refuse a sound with nothing below half the requested rate, rather than return silence.

    Returns:
        float32 (samples,): `round(seconds * rate)` samples, fewer where the file ends earlier; (channels, samples) for
        each.

    Raises:
        AudioError: as `probe` does; also for NaN or infinite samples, for a start at or after the end, for a channel
            that the file does not have, and for a sound that takes more than half of the machine's memory.
        AaspError: `rate` or `seconds` is not positive, `start` is negative, or there is no such choice of channels.
    """
    name, how = checked_name(os.fspath(path)), dict(rate=rate, start=start, seconds=seconds, channels=channels)
    with on_disk(name) as file:
        if not decoder_process.is_suspect(file):
            return reading.read(file, name, check_audible=check_audible, **how)  # type: ignore[arg-type]
        return decoder_process.call("read", file, name=name, check_audible=check_audible, **how)


def checked_name(name: str) -> str:
    """The name of a file.

    Raises:
        AudioError: it is not UTF-8, so that no table and no page could hold it.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise AudioError(name, "its name is not valid UTF-8", "rename it") from None
    return name


def check_decodes(path: str | os.PathLike[str], info: AudioInfo) -> None:
    """Decode a file to its end, some minutes at a time, all channels, and discard the samples.

    Args:
        path: the file.
        info: the result of `probe`.

    Raises:
        AudioError: it can't be decoded.
    """
    name = os.fspath(path)
    with on_disk(name) as file:
        if not decoder_process.is_suspect(file):
            reading.check_decodes(file, name, info.rate, info.seconds)
        else:
            decoder_process.call("check_decodes", file, name=name, rate=info.rate, seconds=info.seconds)


def codec(path: str | os.PathLike[str]) -> str:
    """A file's format and codec as text.

    Raises:
        AudioError: it is not a sound file.
    """
    name = os.fspath(path)
    with on_disk(name) as file:
        return decoder_process.call("codec", file) if decoder_process.is_suspect(file) else reading.codec(file)
