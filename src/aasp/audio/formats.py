"""Which formats are supported, how a file's format is identified, and which decoder reads it.

The first bytes of a file identify its format, and its extension has to agree. Nothing is guessed: ffmpeg alone would
take texts for playlists and noise for MP3.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from aasp.audio import container, containers, ffmpeg, headers, mpeg, sndfile, tags
from aasp.audio.error import RAW, AudioError, quoted, salvage


@dataclass(frozen=True)
class Family:
    """Files of one format.

    Attributes:
        name: its common name.
        head: a pattern that matches its first bytes.
        extensions: its file extensions.
        demuxer: ffmpeg's name.
    """

    name: str
    head: re.Pattern[bytes]
    extensions: frozenset[str]
    demuxer: str


def _family(name: str, demuxer: str, extensions: str, head: bytes) -> Family:
    return Family(name, re.compile(head, re.DOTALL), frozenset(f".{e}" for e in extensions.split()), demuxer)


FAMILIES = (
    _family("WAV", "wav", "wav wave bwf rf64", rb"(RIFF|RIFX|RF64|BW64)....WAVE"),
    _family("W64", "w64", "w64", rb"riff\x2e\x91\xcf\x11"),
    _family("AIFF", "aiff", "aif aiff aifc", rb"FORM....AIF[FC]"),
    _family("AU", "au", "au snd", rb"\.snd"),
    _family("CAF", "caf", "caf", rb"caff"),
    _family("FLAC", "flac", "flac", rb"(ID3.{7}.*?)?fLaC"),
    _family("Ogg", "ogg", "ogg oga opus spx ogv", rb"OggS"),
    _family("MP4", "mov", "m4a mp4 m4b m4v mov 3gp 3g2", rb"....(ftyp|moov|mdat|free|skip|wide|styp)"),
    _family("WebM or Matroska", "matroska", "webm weba mka mkv", rb"\x1a\x45\xdf\xa3"),
    _family("WMA", "asf", "wma wmv asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    _family("AVI", "avi", "avi", rb"RIFF....AVI "),
    _family("FLV", "flv", "flv", rb"FLV\x01"),
    _family("AMR", "amr", "amr awb", rb"#!AMR"),
    _family("Monkey's Audio", "ape", "ape", rb"MAC "),
    _family("WavPack", "wv", "wv", rb"wvpk"),
    _family("True Audio", "tta", "tta", rb"TTA[12]"),
    _family("AC-3", "ac3", "ac3", rb"\x0b\x77.{3}[\x00-\x57]"),
    _family("E-AC-3", "eac3", "eac3 ec3", rb"\x0b\x77.{3}[\x58-\x87]"),
    _family("DTS", "dts", "dts", rb"\x7f\xfe\x80\x01"),
    _family("MPEG transport stream", "mpegts", "mts m2ts", rb"\x47.{187}\x47|.{4}\x47.{191}\x47"),
    _family("MPEG program stream", "mpeg", "mpg mpeg vob", rb"\0\0\x01\xba"),
    _family("VOC", "voc", "voc", rb"Creative Voice File"),
    _family("NIST SPHERE", "nistsphere", "sph nist", rb"NIST_1A"),
    _family("AAC", "aac", "aac", rb"\xff[\xf0\xf1\xf8\xf9]|ADIF"),
    _family("MP3", "mp3", "mp3 mp2 mpga", rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]"),
)
MP3 = FAMILIES[-1]
EXTENSIONS = frozenset().union(*(family.extensions for family in FAMILIES))
"""The extensions, in lower case, by which sound files are found in a folder."""

_ALSO = {".wav": {"NIST SPHERE"}}  # as in TIMIT
_TAGGED = frozenset({"MP3", "FLAC", "AAC", "Ogg"})  # formats that are also read after an ID3 tag
UNCOMPRESSED = {"WAV": "wav", "W64": "w64", "AIFF": "aiff", "AU": "au", "CAF": "caf"}
_VORBIS = "vorbis"  # an Ogg file with a single Vorbis stream, in which libsndfile can seek
_HEAD_BYTES = 1024
# A sampling rate outside this range, in Hz, is a wrong header.
SLOWEST, FASTEST = 100, 10_000_000
# Demuxers whose headers state the duration to the sample, or to within a packet or two.
_STATING, _NEARLY_STATING, _SHORT_SECONDS = frozenset({"ape", "tta", "wv", "flac"}), frozenset({"mov", "caf"}), 0.2


class Track(Protocol):
    """The sound of an open file.

    Attributes:
        rate: Hz of its samples.
        channels: number of channels.
        frames: samples per channel.
        stated_rate: Hz of the encoded source: Opus always decodes at 48 kHz.
    """

    rate: int
    channels: int
    frames: int
    stated_rate: int

    def decode(self, begin: int, end: int) -> np.ndarray:
        """Samples [begin, end), which must be in the file: float32 (end - begin, channels)."""

    def check_whole(self) -> None:
        """Raise an `AudioError` if the end of the file is missing."""

    def close(self) -> None: ...


def family(path: str) -> Family:
    """The format of a sound file.

    Raises:
        AudioError: it is missing, empty, unreadable, of an unsupported format, or not what its extension says.
    """
    extension = os.path.splitext(path)[1].lower()
    try:
        if os.path.isdir(path):
            raise AudioError(path, "is a folder", "name a sound file")
        if os.stat(path).st_size == 0:
            raise AudioError(path, "empty file", "delete it or fetch it again")
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            tag = tags.length(head)  # some other formats have one too
            if tag:
                file.seek(tag)
                head = file.read(_HEAD_BYTES) or head
    except FileNotFoundError:
        raise AudioError(path, "no such file", "check the path") from None
    except OSError as error:
        raise AudioError(path, f"unreadable ({error.strerror})", "check its permissions") from None
    found = next((one for one in FAMILIES if one.head.match(head)), None)
    if found is None and extension in MP3.extensions:
        found = MP3  # junk from a download or a broadcast may precede its first frame
    if found is None:
        remedy = "leave it out, or, if it is sound, convert it to FLAC or WAV with the program that made it"
        raise AudioError(path, "not audio, or of a kind that is not read here", remedy)
    if extension in EXTENSIONS and extension not in found.extensions and found.name not in _ALSO.get(extension, ()):
        remedy = f"rename it to end in {' or '.join(sorted(found.extensions))}"
        raise AudioError(path, f"mislabelled: named {extension} but holds {found.name}", remedy)
    if tag and found.name not in _TAGGED:
        kept = f"tail -c +{tag + 1} {quoted(path)} > kept{extension}"
        raise AudioError(path, f"an ID3 tag in front of {found.name}, where none belongs", f"take it away: {kept}")
    return found


@contextmanager
def opened(path: str) -> Iterator[Track]:
    """A sound file of any format, open for decoding.

    Raises:
        AudioError: it can't be read, or has no sound.
    """
    track = _track(path, family(path))
    try:
        if not SLOWEST <= track.rate <= FASTEST or track.channels <= 0:
            reason = f"its header states {track.rate:,} Hz and {track.channels} channel(s)"
            raise AudioError(path, reason, RAW)
        if track.frames <= 0:
            try:
                track.check_whole()
            except AudioError as error:  # cut after its header
                raise AudioError(path, error.reason, "fetch it again: no sound is left in it") from None
            raise AudioError(path, "zero length: a header without samples", "record it again")
        yield track
    finally:
        track.close()


def _track(path: str, kind: Family) -> Track:
    """The decoder that reads this file correctly; libsndfile, which is faster, if both do."""
    if kind is MP3:
        return mpeg.Mp3(path)
    if kind.name in UNCOMPRESSED:
        return _uncompressed(path, kind)
    if kind.name == "FLAC":
        with open(path, "rb") as file:
            tagged = file.read(3) == b"ID3"  # libsndfile fails on it
        sound = None if tagged else sndfile.Sndfile(path, look=True)
        if sound is not None and sound.knows_its_length:
            return sound
    status = os.stat(path)
    parts, missing = _parts(path, kind, status.st_mtime_ns, status.st_size)
    if parts and parts[0].demuxer == _VORBIS:
        return sndfile.Sndfile(path, missing, before_last=parts[0].before_last)
    return Ffmpeg(path, parts, missing)


def _uncompressed(path: str, kind: Family) -> Track:
    with open(path, "rb") as file:
        samples = headers.samples(file, UNCOMPRESSED[kind.name])
    if isinstance(samples, tuple):
        raise AudioError(path, *samples)
    if samples.contradiction:
        reason, remedy = samples.contradiction
        raise AudioError(path, reason, remedy.format(name=quoted(path)))
    missing = _why_not_whole(path, samples)
    part = container.Part(path, kind.demuxer, ignoring_length=samples.promised is None and kind.demuxer == "wav")
    readers: list[Callable[[], Track]] = [
        lambda: sndfile.Sndfile(path, missing),
        lambda: Ffmpeg(path, [part], missing),
    ]
    if samples.big:
        del readers[1]  # ffmpeg reads it as noise
    elif not samples.plain:
        del readers[0]  # it rounds differently, and prints to the terminal when an MP3 stream is damaged
    found: list[Track] = []
    errors: list[AudioError] = []
    for reader in readers:
        try:
            found.append(reader())
        except AudioError as error:
            errors.append(error)
        # If the recorder did not state the length, each decoder finds it in some formats only.
        if found and not (samples.plain and samples.promised is None):
            break
    if not found:
        raise errors[0]
    return max(found, key=lambda track: track.frames)


def _why_not_whole(path: str, samples: headers.Samples) -> tuple[str, str] | None:
    """Reason and remedy if an uncompressed file's length differs from its header's."""
    if samples.cut:
        return f"truncated: {samples.present:,} of {samples.promised:,} bytes of sound are left", salvage(path)
    if samples.another_file:
        ending, name, behind = os.path.splitext(path)[1], quoted(path), samples.behind
        parted = f"head -c {behind} {name} > first{ending}; tail -c +{behind + 1} {name} > second{ending}"
        return f"a second file follows its {samples.promised:,} bytes of sound", f"part them: {parted}"
    if samples.excess:
        reason = f"its header counts {samples.promised:,} bytes of sound, and more follows that is no chunk of it"
        if path.lower().endswith((".wav", ".wave", ".bwf", ".rf64")):
            return reason, f"keep all of it: ffmpeg -ignore_length 1 -i {quoted(path)} whole.wav"
        return reason, RAW
    return None


class Ffmpeg:
    """A file that ffmpeg reads: one part, or the links of a chained Ogg file in sequence."""

    def __init__(self, path: str, parts: list[container.Part], missing: tuple[str, str] | None) -> None:
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


@lru_cache(maxsize=256)
def _parts(path: str, kind: Family, changed: int, size: int) -> tuple[list[container.Part], tuple[str, str] | None]:
    """The parts of a compressed file to read; reason and remedy if it is incomplete."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if kind.demuxer != "ogg":
            if kind.demuxer == "nistsphere" and b"embedded-" in content[:_HEAD_BYTES]:
                raise AudioError(path, "compressed by Shorten, which is not read here", "unpack it with sph2pipe")
            reason = containers.missing(content, kind.demuxer)
            return [container.Part(path, kind.demuxer)], (reason, salvage(path)) if reason else None
        tag = tags.length(content[:10])
        links = containers.ogg_links(content, tag)
        reason = next((link.missing for link in links if link.missing), None)
        missing = (reason, salvage(path)) if reason else None
        # libsndfile keeps the channels of surround sound in Vorbis's order.
        vorbis = content.find(b"\x01vorbis", tag, tag + 64)
        if len(links) == 1 and not tag and vorbis > 0 and content[vorbis + 11] <= 2:
            return [container.Part(path, _VORBIS, before_last=links[0].before_last * (links[0].streams == 1))], missing
    if not links:
        raise AudioError(path, "truncated: not one page of it is whole", "fetch it again")
    many = [link.samples if link.streams == 1 else None for link in links]
    return [container.Part(path, "ogg", link.begin, link.end, n) for link, n in zip(links, many, strict=True)], missing
