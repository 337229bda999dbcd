"""A file opened with PyAV, its audio stream, its packets, and their samples as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aasp.audio.error import AudioError, salvage

# ffmpeg's sample formats; the suffix p means planar, one plane per channel.
_DTYPES = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64}


@dataclass(frozen=True)
class Part:
    """A file, or its bytes from `begin` to `end`, for one of ffmpeg's demuxers."""

    path: str
    demuxer: str
    begin: int = 0
    end: int = 0  # 0: to the end of the file
    samples: int | None = None  # as the end of an Ogg stream states
    before_last: int = 0  # end of an Ogg stream's page before the last, in samples
    ignoring_length: bool = False  # the header of a WAV file states no usable length

    @property
    def address(self) -> str:
        """The path for ffmpeg; nothing in a file's name is interpreted as a protocol."""
        return f"subfile,,start,{self.begin},end,{self.end},,:{self.path}" if self.end else f"file:{self.path}"


def packets(part: Part, container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, and one of size 0 at the end."""
    import av

    seconds = 0.0
    try:
        for packet in container.demux(stream):
            if packet.pts is not None:
                seconds = float(packet.pts * packet.time_base)
            yield packet
    except av.error.FFmpegError:
        raise damaged(part, seconds) from None


def opened(part: Part) -> Any:
    import av

    options = {"protocol_whitelist": "file,subfile"}
    if part.ignoring_length:
        options["ignore_length"] = "1"
    try:
        return av.open(part.address, format=part.demuxer, options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        reason = f"truncated or damaged ({part.demuxer} that can't be opened: {what})"
        raise AudioError(part.path, reason, "fetch it again: nothing of its sound is left") from None


def sound_of(part: Part, container: Any) -> Any:
    """The audio stream; other streams are not read."""
    import av

    stream = container.streams.best("audio")
    if stream is None:
        raise AudioError(part.path, "holds no sound, only pictures", "leave it out")
    if stream.codec_context is None:
        raise AudioError(part.path, "its codec is not known here", "convert it to FLAC with the program that made it")
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
    if part.demuxer == "caf" and stream.codec_context.name == "alac":
        # The last packet is already short, and ffmpeg would cut it again.
        stream.codec_context.flags2 |= av.codec.context.Flags2.skip_manual
    # PyAV frees the channel list of an unnamed order on each access, so it is accessed once only.
    layout = stream.codec_context.layout
    if "(" in layout.name:
        stream.codec_context.layout = f"{layout.nb_channels}C"
    return stream


def damaged(part: Part, seconds: float) -> AudioError:
    return AudioError(part.path, f"truncated or damaged at {max(0.0, seconds):.2f} s", salvage(part.path))


def samples_of(path: str, frame: Any, rate: int, channels: int) -> np.ndarray:
    """A frame as float32 (samples, channels), full scale at 1."""
    count = len(frame.layout.channels)
    if frame.sample_rate != rate or count != channels:
        now = f"{frame.sample_rate} Hz, {count} channel(s)"
        reason = f"changes within, from {rate} Hz, {channels} channel(s) to {now}"
        raise AudioError(path, reason, "cut it there into files")
    name = frame.format.name
    dtype = _DTYPES[name.removesuffix("p")]
    # PyAV lists memory beyond the eighth plane as planes too; each is padded after its last sample.
    planes = [np.frombuffer(plane, dtype) for plane in frame.planes[: count if name.endswith("p") else 1]]
    if name.endswith("p"):
        array = np.stack([plane[: frame.samples] for plane in planes], axis=1)
    else:
        array = planes[0][: frame.samples * count].reshape(-1, count)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if name.startswith("u8"):
        return (array.astype(np.float32) - 128) / 128
    return array.astype(np.float32) * np.float32(2.0 ** (1 - 8 * array.dtype.itemsize))
