"""Sound from any format that ffmpeg demuxes, through PyAV: a sample's position is that of decoding from the start.

Timestamps in containers are too coarse for that (a millisecond in WebM) or missing (MP3, ADTS). So a file is demuxed
once, with very little decoding, to find how many samples each packet gives; a window then decodes its own packets and
a few before them.
"""

from __future__ import annotations

import itertools
import mmap
import os
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from aasp.audio import opus
from aasp.audio.av_file import Part, damaged, opened, packets, samples_of, sound_of
from aasp.audio.error import RAW, AudioError

# Packets decoded at each end to find how many samples one gives; the decoder needs some of the last ones to settle.
_HEAD, _SETTLING, _TAIL = 6, 12, 6
# How much a decoder that starts inside a stream must read before its output equals that of decoding from the start;
# codecs that predict from sample to sample settle slowly, and Yamaha's ADPCM never does.
_PREROLL_SECONDS, _SLOW_PREROLL_SECONDS = 0.5, 5.0
_SLOW = re.compile(r"(adpcm_)?g72|(lib)?(speex|gsm|opencore)|amr|qcelp|evrc")
_AAC_BY_PROGRAM = "aac, its channels described in the first frame only"
_CUMULATIVE = frozenset({"adpcm_yamaha", _AAC_BY_PROGRAM})
# Below this many packets from the start, seeking does not pay off.
_NEAR_PACKETS = 400
# Demuxers that seek to a packet by its time.
_SEEKABLE = frozenset({"mov", "matroska", "ogg", "wv", "tta", "caf", "asf", "avi", "ape"})
# Packets of these give different numbers of samples, which durations in milliseconds do not resolve.
_VARIABLE = frozenset({"vorbis"})


@dataclass(frozen=True)
class Index:
    """The result of demuxing a part.

    Attributes:
        times: presentation time of each packet (packets,), in the stream's units; empty unless all
            packets have one and they increase.
        produced: cumulative samples given up to and including each packet (packets,).
        lead: samples at the beginning that are not part of the sound and that ffmpeg does not trim: those that an
            encoder added, or those before time 0 in a Vorbis file that was cut without being encoded again.
        rate: Hz.
        channels: number of channels.
        stated_rate: Hz of the encoded source, from the header: Opus always decodes at 48 kHz.
        stated_seconds: duration in the container's header, if it states one.
    """

    times: np.ndarray
    produced: np.ndarray
    rate: int
    channels: int
    codec: str
    stated_rate: int
    stated_seconds: float | None
    lead: int = 0

    @property
    def frames(self) -> int:
        return max(0, int(self.produced[-1]) - self.lead) if len(self.produced) else 0


def index(part: Part) -> Index:
    """Demux a part; results for the most recent files are cached.

    Raises:
        AudioError: it has no sound that can be decoded.
    """
    status = os.stat(part.path)
    return _index(part, status.st_mtime_ns, status.st_size)


def read(part: Part, begin: int, end: int) -> np.ndarray:
    """Samples [begin, end) of a part: float32 (samples, channels), fewer if it ends earlier.

    Raises:
        AudioError: a packet is damaged, or the rate or the channels change.
    """
    table = index(part)
    begin, end = begin + table.lead, min(end, table.frames) + table.lead
    out = np.empty((max(0, end - begin), table.channels), dtype=np.float32)
    if not len(out):
        return out
    seconds = _SLOW_PREROLL_SECONDS if _SLOW.match(table.codec) else _PREROLL_SECONDS
    preroll = 0 if table.codec in _CUMULATIVE else max(0, begin - round(seconds * table.rate))
    first, wanted = (int(x) for x in np.searchsorted(table.produced, [preroll, begin], side="right"))
    first = first if preroll else 0  # the first packets may give nothing and still be needed
    filled = begin
    with opened(part) as container:
        stream = sound_of(part, container)
        for packet, blocks in _decoded(part, container, stream, table, first):
            if packet < wanted:
                continue
            # The last packet also flushes what the decoder still holds.
            place = int(table.produced[packet - 1]) if packet else 0
            given, expected = sum(map(len, blocks)), table.produced[packet] - place
            if given < expected or (given > expected and packet < len(table.produced) - 1):
                raise damaged(part, place / table.rate)
            for block in blocks:
                low, high = max(place, begin), min(place + len(block), end)
                if low < high:
                    out[low - begin : high - begin] = block[low - place : high - place]
                    filled = high
                place += len(block)
            if place >= end:
                break
    if filled < end:
        raise damaged(part, filled / table.rate)
    return out


def _decoded(
    part: Part, container: Any, stream: Any, table: Index, first: int
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(packet, its samples) from packet number `first` on."""
    number, last = 0, len(table.produced) - 1
    if first > _NEAR_PACKETS and len(table.times) and part.demuxer in _SEEKABLE:
        container.seek(int(table.times[first]), stream=stream)
        number = -1
    for packet in packets(part, container, stream):
        if packet.size == 0:
            break
        if number < 0:
            number = int(np.searchsorted(table.times, packet.pts if packet.pts is not None else -(2**62)))
            if number > first or table.times[number] != packet.pts:
                raise damaged(part, float(table.produced[first]) / table.rate)
        if number >= first:
            blocks = _blocks(part, stream, packet, table)
            if number == last:
                blocks += _blocks(part, stream, None, table)
            yield number, blocks
        number += 1


def _blocks(part: Part, stream: Any, packet: Any, table: Index) -> list[np.ndarray]:
    """Samples (n, channels) of each frame that a packet gives; None flushes the decoder."""
    import av

    try:
        frames = stream.codec_context.decode(packet)
    except av.error.FFmpegError:
        seconds = float(packet.pts * packet.time_base) if packet is not None and packet.pts is not None else 0.0
        raise damaged(part, seconds) from None
    return [samples_of(part.path, frame, table.rate, table.channels) for frame in frames]


def first_time(part: Part) -> int:
    """Time of the first sample that is decoded from a Vorbis stream, in samples: the first packet only prepares.

    Raises:
        AudioError: it can't be opened, or is damaged at the beginning.
    """
    with opened(part) as container:
        first = itertools.islice(packets(part, container, sound_of(part, container)), 2)
        return [packet.pts or 0 for packet in first][-1]


@lru_cache(maxsize=256)
def _index(part: Part, changed: int, size: int) -> Index:
    import av

    if part.demuxer == "ogg":
        with open(part.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = opus.packets(content, part.begin, part.end or len(content))
        if found is not None:
            rate = found.rate or 48_000
            return Index(found.times, found.produced, 48_000, found.channels, "opus", rate, None)
    times: list[int | None] = []
    durations: list[int] = []
    head: list[int] = []
    full = 0  # samples in Opus packets at the beginning, including those to skip
    tail: deque = deque(maxlen=_SETTLING + _TAIL)
    with opened(part) as container:
        stream = sound_of(part, container)
        codec, rate, channels = stream.codec_context.name, stream.rate, stream.channels
        if not rate or not channels:
            raise AudioError(part.path, "its header states 0 Hz or no channels", RAW)
        stated = float(stream.duration * stream.time_base) if stream.duration else None
        extra = bytes(stream.codec_context.extradata or b"")
        given: Counter = Counter()

        def decode(packet: Any) -> int:
            count = 0
            for frame in stream.codec_context.decode(packet):
                given[frame.sample_rate, len(frame.layout.channels)] += 1
                count += frame.samples
            return count

        try:
            for packet in packets(part, container, stream):
                if packet.size == 0:
                    break
                times.append(packet.pts)
                durations.append(packet.duration or 0)
                if not head and part.demuxer == "aac" and _by_program(bytes(packet)):
                    codec = _AAC_BY_PROGRAM
                if len(head) < _HEAD:
                    head.append(decode(packet))
                    full += opus.samples(bytes(packet)) if codec.endswith("opus") else 0
                tail.append(packet)
            produced = None
            if len(times) > _HEAD + _SETTLING + _TAIL:
                stream.codec_context.flush_buffers()
                last = [decode(packet) for packet in tail]
                last[-1] += decode(None)
                if codec not in _VARIABLE or stream.time_base.denominator >= rate:
                    produced = _extrapolated(times, durations, head, last, rate, float(stream.time_base))
        except av.error.FFmpegError:
            produced = None
    # The first packet of Vorbis gives nothing. In a file of one page ffmpeg counts from that packet, at time 0.
    start = times[1] or 0 if codec == "vorbis" and part.samples is not None and len(times) > 1 and times[0] else 0
    if produced is None or start:  # times of pages that were cut or converted from WebM may be wrong
        produced = _counted(part, given)
    if not given:
        raise AudioError(part.path, "zero length: no sound in it can be decoded", "fetch it again")
    (rate, channels), _ = given.most_common(1)[0]
    if codec == "vorbis" and part.samples is not None:
        # A last page may end before its packets do; ffmpeg gives all of it.
        produced = np.minimum(produced, part.samples - start)
    known = np.array([-1 if time is None else time for time in times[: len(produced)]], dtype=np.int64)
    if start or len(known) != len(produced) or not (np.diff(known) > 0).all():
        known = known[:0]
    stated_rate, lead = 0, -start
    if extra.startswith(b"OpusHead"):
        skip, stated_rate = int.from_bytes(extra[10:12], "little"), int.from_bytes(extra[12:16], "little")
        if part.demuxer == "matroska" and sum(head) > 0:  # ffmpeg skips too little where the track's rate is not 48 kHz
            lead = skip - (full - sum(head))
    return Index(known, produced, rate, channels, codec, stated_rate or rate, stated, max(0, lead))


def _by_program(frame: bytes) -> bool:
    """Whether an ADTS frame's header leaves the channel layout to the frame's content."""
    return len(frame) > 3 and frame[0] == 0xFF and not frame[2] & 1 and not frame[3] >> 6


def _extrapolated(
    times: list, durations: list[int], head: list[int], last: list[int], rate: int, unit: float
) -> np.ndarray | None:
    """Cumulative samples per packet, extrapolated from both ends; None if the packets between may differ."""
    settled = last[_SETTLING:]
    middle = np.array(durations[_HEAD:-_TAIL], dtype=np.int64)
    if abs(unit * rate - 1) < 1e-9 and None not in times:  # times in samples: do steps match?
        steps = np.diff(np.array(times, dtype=np.int64)).tolist()
        if head[1:] == steps[1:_HEAD] and settled[:-1] == steps[1 - _TAIL :] and min(steps) >= 0:
            return np.cumsum([*head, *steps[_HEAD : 1 - _TAIL], *settled])
    # Timestamps of a millisecond can't distinguish packets of 1,024 samples, so a difference of one is allowed.
    each, alike = head[-1], middle.max() - middle.min() <= (1 if unit >= 1e-3 else 0)
    if not each or not alike or middle.min() <= 0 or {*head[2:], *settled[:-1]} != {each}:
        return None
    return np.cumsum([*head, *[each] * len(middle), *settled])


def _counted(part: Part, given: Counter) -> np.ndarray:
    """Cumulative samples per packet, by decoding everything."""
    import av

    counts: list[int] = []
    given.clear()
    with opened(part) as container:
        stream = sound_of(part, container)
        for packet in packets(part, container, stream):
            try:
                frames = stream.codec_context.decode(packet if packet.size else None)
            except av.error.FFmpegError:
                raise damaged(part, sum(counts) / (stream.rate or 1)) from None
            count = sum(frame.samples for frame in frames)
            given.update((frame.sample_rate, len(frame.layout.channels)) for frame in frames)
            if packet.size:
                counts.append(count)
            elif counts:
                counts[-1] += count
    return np.cumsum(np.array(counts, dtype=np.int64))
