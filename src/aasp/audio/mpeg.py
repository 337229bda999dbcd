"""MP3 files: frames are found by their headers and passed to ffmpeg's decoder (ISO/IEC 11172-3, 13818-3).

Around the frames are tags (ID3, APE, Lyrics3), pictures and junk from downloads or broadcasts; decoders confuse them
with sound. Few files state their length, and an estimate from the file size can be five times too short. So the frames
are counted, which costs a hundredth of decoding them.
"""

from __future__ import annotations

import mmap
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from aasp.audio import tags
from aasp.audio.av_file import samples_of
from aasp.audio.error import AudioError, quoted, salvage

_RATES = (44_100, 48_000, 32_000)
_KBPS = {  # by (MPEG-1 or not, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]")
FREE_FORMAT = -1
"""Result of `frame_bytes` for a frame whose header does not give its length."""


def frame_bytes(head: bytes) -> int:
    """Bytes of the frame with this four-byte header; 0 if it is not a header, `FREE_FORMAT` if it gives no length."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or bitrate == 15:
        return 0
    if bitrate == 0:
        return FREE_FORMAT
    first = version == 3
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    kbps = _KBPS[first, layer][bitrate - 1]
    if layer == 1:
        return (12_000 * kbps // hertz + padding) * 4
    return (144_000 if first or layer == 2 else 72_000) * kbps // hertz + padding


# Bytes between frames that are not a tag: up to this many are an encoder's padding, more are damage.
_PADDING_BYTES = 2048
# Frames decoded before a window: they fill the filters' memory and the bit reservoir, which reaches back 255 bytes in
# MPEG-2, whose shortest frames have eleven (8 kbit/s; pauses in variable rates).
_PREROLL = 32
# The decoder's delay by its filter bank, in samples (ISO/IEC 11172-3; LAME's "decoder delay").
_DECODER_DELAY = 529
_BATCH = 256  # frames decoded at once


@dataclass(frozen=True)
class Frames:
    """The frames of a file.

    Attributes:
        places: first byte of each frame (frames,).
        lengths: bytes of each frame (frames,).
        each: samples in a frame.
        rate: Hz.
        codec: ffmpeg's name of the decoder.
        skip: samples that the encoder added at the beginning.
        trim: samples that it added at the end.
        missing: why the file is incomplete; None if it is complete.
    """

    places: np.ndarray
    lengths: np.ndarray
    each: int
    rate: int
    channels: int
    codec: str
    skip: int
    trim: int
    missing: str | None


class Mp3:
    """An open file, as in `aasp.audio.formats.Track`.

    Raises:
        AudioError: it has no frame, its frames are free-format, or its rate, layer or channels change.
    """

    def __init__(self, path: str) -> None:
        status = os.stat(path)
        self._path = path
        self._found = found = _frames(path, status.st_mtime_ns, status.st_size)
        self.rate = self.stated_rate = found.rate
        self.channels = found.channels
        self.frames = max(0, len(found.places) * found.each - found.skip - found.trim)

    def decode(self, begin: int, end: int) -> np.ndarray:
        import av

        found = self._found
        begin, end = begin + found.skip, end + found.skip
        first, last = max(0, begin // found.each - _PREROLL), min(len(found.places), -(-end // found.each))
        out = np.empty((end - begin, self.channels), dtype=np.float32)
        decoder: Any = av.CodecContext.create(found.codec, "r")
        place = first * found.each
        with open(self._path, "rb") as file:
            for batch in range(first, last, _BATCH):
                places, lengths = found.places[batch : min(batch + _BATCH, last)], found.lengths[batch:]
                file.seek(places[0])
                content = file.read(places[-1] + lengths[len(places) - 1] - places[0])
                for start, length in zip((places - places[0]).tolist(), lengths.tolist(), strict=False):
                    try:
                        decoded = decoder.decode(av.Packet(content[start : start + length]))
                    except av.error.FFmpegError:
                        raise self._damaged(place) from None
                    if len(decoded) != 1 or decoded[0].samples != found.each:
                        raise self._damaged(place)
                    low, high = max(place, begin), min(place + found.each, end)
                    if low < high:
                        block = samples_of(self._path, decoded[0], self.rate, self.channels)
                        out[low - begin : high - begin] = block[low - place : high - place]
                    place += found.each
        return out

    def _damaged(self, place: int) -> AudioError:
        return AudioError(self._path, f"damaged at {place / self.rate:.2f} s", salvage(self._path))

    def check_whole(self) -> None:
        if self._found.missing is not None:
            raise AudioError(self._path, self._found.missing, salvage(self._path))

    def close(self) -> None:
        pass


@lru_cache(maxsize=256)
def _frames(path: str, changed: int, size: int) -> Frames:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _frames_in(path, content)


def _frames_in(path: str, content: mmap.mmap) -> Frames:
    begin, end = _span(content)
    if begin < 0:
        raise AudioError(path, "not audio (no MP3 frame in it)", "leave it out, or fetch it again")
    head = content[begin : begin + 4]
    if frame_bytes(head) == FREE_FORMAT:
        raise AudioError(
            path, "free-format MP3, which is not read here", f"convert it: lame --decode {quoted(path)} kept.wav"
        )
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate = _RATES[head[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}[version]
    each = 384 if layer == 1 else 1152 if layer == 2 or version == 3 else 576
    places, missing = _walk(path, content, begin, end, rate, each)
    mono = {content[at + 3] >> 6 == 3 for at in places}
    if len(mono) > 1:
        change = next(i for i, at in enumerate(places) if (content[at + 3] >> 6 == 3) != (head[3] >> 6 == 3))
        raise _changed(path, change * each / rate)
    announced, stated_bytes, skip, trim = _information(content, begin, layer)
    if announced is not None:
        del places[0]  # a header frame without sound
        missing = None
        # Some encoders count the header's own frame; all bytes that they state are then present.
        whole = len(places) == announced - 1 and 0 < stated_bytes <= end - begin
        if len(places) < announced and not whole:
            missing = f"truncated: {len(places):,} of {announced:,} frames are left"
        elif len(places) > announced:
            trim = 0
    known = _lengths_like(head[1] & 0xFE, head[2] & 0x0C)
    lengths = np.array([known[content[at + 1] << 8 | content[at + 2]] for at in places], dtype=np.int64)
    channels = 1 if head[3] >> 6 == 3 else 2
    codec = f"mp{layer}float"
    return Frames(np.array(places, dtype=np.int64), lengths, each, rate, channels, codec, skip, trim, missing)


def _walk(path: str, content: mmap.mmap, begin: int, end: int, rate: int, each: int) -> tuple[list[int], str | None]:
    """First byte of each complete frame in [begin, end), and why the file is incomplete, if it is."""
    places: list[int] = []
    place, lengths = begin, _lengths_like(content[begin + 1] & 0xFE, content[begin + 2] & 0x0C)
    while True:
        while place + 4 <= end and content[place] == 0xFF:
            length = lengths[content[place + 1] << 8 | content[place + 2]]
            if length <= 0 or place + length > end:
                break
            places.append(place)
            place += length
        if place + 4 > end:
            return places, None
        seconds, head = len(places) * each / rate, content[place : place + 4]
        if frame_bytes(head) > 0 and _same(head) == _same(content[begin : begin + 4]):
            return places, f"truncated: its last frame is cut, at {seconds:.2f} s"
        if first_frame(content, place, place + 1) == place:
            raise _changed(path, seconds)
        tag = tags.length(content[place : place + 10])
        following = place + tag if tag else first_frame(content, place + 1)
        following = following if 0 <= following < end else end
        if not tag and following - place > _PADDING_BYTES and any(content[place:following]):
            return places, f"damaged: {following - place:,} bytes at {seconds:.2f} s are no sound"
        place = following


def _changed(path: str, seconds: float) -> AudioError:
    return AudioError(path, f"its rate, layer or channels change at {seconds:.2f} s", "cut it there into files")


@lru_cache(maxsize=32)
def _lengths_like(version_layer: int, rate: int) -> list[int]:
    """Frame length by second and third byte of the header; 0 for frames that do not match version, layer and rate."""
    alike = [0] * 65_536
    for protection in (0, 1):
        for bits in range(256):
            second, third = version_layer | protection, bits & 0xF3 | rate
            alike[second << 8 | third] = max(0, frame_bytes(bytes([0xFF, second, third, 0])))
    return alike


def _same(head: bytes) -> tuple[int, int, bool]:
    """What all frames of a file share: version and layer, rate, one channel or two."""
    return head[1] & 0xFE, head[2] & 0x0C, head[3] >> 6 == 3


def first_frame(content: mmap.mmap, begin: int = 0, end: int | None = None) -> int:
    """The position of the first frame that is followed by a similar one or by the end of the audio; -1 if none."""
    for found in _SYNC.finditer(content, begin, len(content) if end is None else end + 1):
        place = found.start()
        length = frame_bytes(content[place : place + 4])
        if length == FREE_FORMAT:
            if _free_format(content, place):
                return place
            continue
        following = place + length
        if length and (
            _alike(content, place, following) or following == len(content) or tags.begins(content, following)
        ):
            return place
    return -1


def _alike(content: mmap.mmap, one: int, other: int) -> bool:
    """Whether frames of the same version, layer, rate and channels begin at both places."""
    a, b = content[one : one + 4], content[other : other + 4]
    return frame_bytes(b) != 0 and _same(a) == _same(b)


def _free_format(content: mmap.mmap, place: int) -> bool:
    """Whether equal headers repeat at equal distances, as in free-format frames."""
    head = content[place : place + 2]
    repeat = content.find(head, place + 24, place + 8192)
    return repeat > 0 and content[2 * repeat - place : 2 * repeat - place + 2] == head


def _span(content: mmap.mmap) -> tuple[int, int]:
    """First byte of the first frame, and the one after the last: (-1, …) if there is no frame."""
    begin = first_frame(content, min(tags.leading(content), len(content)))
    if begin < 0:  # an ID3 tag with a wrong size hides the frames
        begin = first_frame(content)
    return begin, tags.trailing(content) if begin >= 0 else len(content)


def _information(content: mmap.mmap, begin: int, layer: int) -> tuple[int | None, int, int, int]:
    """(frames, bytes, samples to skip, samples to trim) from a Xing, Info or VBRI header in the first frame.

    Frames do not include the header frame itself; None without such a header.
    """
    frame = content[begin : begin + max(192, frame_bytes(content[begin : begin + 4]))]
    if layer != 3:
        return None, 0, 0, 0
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), 0, 0, 0
    place = max(frame.find(b"Xing", 4, 44), frame.find(b"Info", 4, 44))
    if place < 0:
        return None, 0, 0, 0
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    announced = int.from_bytes(frame[place + 8 : place + 12], "big") if flags & 1 else 0
    stated = int.from_bytes(frame[place + 12 : place + 16], "big") if flags & 3 == 3 else 0
    # After the fields that the flags announce: the encoder's name, and 21 bytes on the samples added at both ends.
    tag = place + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if frame[tag : tag + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return announced, stated, 0, 0
    added = int.from_bytes(frame[tag + 21 : tag + 24], "big")
    return (
        announced,
        stated,
        (added >> 12) + _DECODER_DELAY,
        max(0, (added & 0xFFF) - _DECODER_DELAY) if announced else 0,
    )
