"""Compressed files through ffmpeg, and those with a single Vorbis stream through libsndfile, which is faster.

Pages of an Ogg file state when their sound ends. If a Vorbis file was cut, captured from a running stream or converted
from WebM without being encoded again, these times are not those that decoding gives: sound may precede time 0, or begin
after it. libsndfile then reads the wrong samples, and ffmpeg is used. Source: Vorbis I specification, section A.2.
"""

from __future__ import annotations

import mmap
import os
from functools import lru_cache

import numpy as np

from aasp.audio import av_file, completeness, ffmpeg, sndfile, tags
from aasp.audio.error import AudioError, salvage

_VORBIS = "vorbis"  # an Ogg file with a single Vorbis stream, in which libsndfile can seek
_SHORTEN_BYTES = 1024
# Demuxers whose headers state the duration to the sample, or to within a packet or two.
_STATING, _NEARLY_STATING, _SHORT_SECONDS = frozenset({"ape", "tta", "wv", "flac"}), frozenset({"mov", "caf"}), 0.2


def track(path: str, demuxer: str) -> sndfile.Sndfile | Ffmpeg:
    """The decoder of a compressed file, given ffmpeg's name of its container.

    Raises:
        AudioError: it can't be read.
    """
    status = os.stat(path)
    parts, missing = _parts(path, demuxer, status.st_mtime_ns, status.st_size)
    if parts and parts[0].demuxer == _VORBIS:
        return sndfile.Sndfile(path, missing, before_last=parts[0].before_last)
    return Ffmpeg(path, parts, missing)


class Ffmpeg:
    """A file that ffmpeg reads: one part, or the links of a chained Ogg file in sequence."""

    def __init__(self, path: str, parts: list[av_file.Part], missing: tuple[str, str] | None) -> None:
        self._path, self._parts, self._missing = path, parts, missing
        try:
            self._indices = [ffmpeg.index(part) for part in parts]
        except AudioError:
            if missing is None:
                raise
            raise AudioError(path, missing[0], "fetch it again") from None
        first = self._indices[0]
        self.rate, self.channels, self.stated_rate = first.rate, first.channels, first.stated_rate
        for one in self._indices:
            if (one.rate, one.channels) != (first.rate, first.channels):
                reason = "chained from streams of different rates or channel counts"
                raise AudioError(path, reason, "split it into its streams")
        self.frames = sum(one.frames for one in self._indices)
        stated, demuxer = first.stated_seconds, parts[0].demuxer
        if missing is None and demuxer in _STATING | _NEARLY_STATING and stated is not None:
            seconds = self.frames / self.rate
            if seconds < stated - (1.5 / self.rate if demuxer in _STATING else _SHORT_SECONDS):
                self._missing = f"truncated: {seconds:g} s are left of {stated:g} s", salvage(path)

    def decode(self, begin: int, end: int) -> np.ndarray:
        out, offset = [], 0
        for part, index in zip(self._parts, self._indices, strict=True):
            low, high = max(begin - offset, 0), min(end - offset, index.frames)
            if low < high:
                out.append(ffmpeg.read(part, low, high))
            offset += index.frames
        return out[0] if len(out) == 1 else np.concatenate(out)

    def check_whole(self) -> None:
        if self._missing is not None:
            raise AudioError(self._path, *self._missing)

    def close(self) -> None:
        pass


@lru_cache(maxsize=16_384)  # a training reads the same files again and again
def _parts(path: str, demuxer: str, changed: int, size: int) -> tuple[list[av_file.Part], tuple[str, str] | None]:
    """The parts of a compressed file to read; reason and remedy if it is incomplete."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if demuxer != "ogg":
            if demuxer == "nistsphere" and b"embedded-" in content[:_SHORTEN_BYTES]:
                raise AudioError(path, "compressed by Shorten, which is not read here", "unpack it with sph2pipe")
            reason = completeness.missing(content, demuxer)
            return [av_file.Part(path, demuxer)], (reason, salvage(path)) if reason else None
        tag = tags.leading(content)
        links = completeness.ogg_links(content, tag)
        reason = next((link.missing for link in links if link.missing), None)
        missing = (reason, salvage(path)) if reason else None
        # libsndfile keeps the channels of surround sound in Vorbis's order.
        vorbis = content.find(b"\x01vorbis", tag, tag + 64)
        plain = len(links) == 1 and not tag and vorbis > 0 and content[vorbis + 11] <= 2
        if plain and _in_step(path, links[0], short_block=1 << (content[vorbis + 28] & 15)):
            before_last = links[0].before_last * (links[0].streams == 1)
            return [av_file.Part(path, _VORBIS, before_last=before_last)], missing
    if not links:
        raise AudioError(path, "truncated: not one page of it is whole", "fetch it again")
    many = [link.samples if link.streams == 1 else None for link in links]
    return [av_file.Part(path, "ogg", link.begin, link.end, n) for link, n in zip(links, many, strict=True)], missing


def _in_step(path: str, link: completeness.Link, short_block: int) -> bool:
    """Whether the pages of a Vorbis stream state the times that decoding gives."""
    if link.unit % (short_block // 4 or 1):
        return False  # each block gives a multiple of this, so pages end at multiples of it
    return not link.before_last or ffmpeg.first_time(av_file.Part(path, "ogg")) == 0
