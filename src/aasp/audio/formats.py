"""Which formats are read, how a file shows which it is, and what it is then read with.

A file is told by its first bytes, and its extension has to agree. Nothing is left to a guess: ffmpeg by itself takes
texts for playlists and noise for MP3.
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

from aasp.audio import containers, ffmpeg, headers, mpeg, sndfile
from aasp.audio.error import AudioError, salvage


@dataclass(frozen=True)
class Family:
    """Files of one kind.

    Attributes:
        name: what people call it.
        head: a pattern that matches its first bytes.
        extensions: the names it goes by.
        demuxer: ffmpeg's.
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
"""The names under which a folder is searched for sound, in lower case."""

_ALSO = {".wav": {"NIST SPHERE"}}  # as TIMIT has it
_UNCOMPRESSED = {"WAV": "wav", "W64": "w64", "AIFF": "aiff", "AU": "au", "CAF": "caf"}
# Format tags of WAV files that libsndfile reads as they are meant: PCM, MS ADPCM, float, A-law, µ-law, IMA ADPCM, GSM.
_SNDFILE_TAGS = frozenset({None, 1, 2, 3, 6, 7, 0x11, 0x31})
_VORBIS = "vorbis"  # an Ogg file of one stream of it, which libsndfile finds its way in
_HEAD_BYTES = 1024
# A rate outside of these, in Hz, is a header's mistake.
_SLOWEST, _FASTEST = 100, 10_000_000
# Demuxers whose headers state how long the sound is, and by how much sound may fall short of that: a packet or two.
_STATING, _SHORT_SECONDS = frozenset({"mov", "ape", "tta", "wv", "caf"}), 0.2


class Track(Protocol):
    """The sound of an open file.

    Attributes:
        rate: Hz of its samples.
        channels: how many.
        frames: samples of each channel.
        stated_rate: Hz of what was encoded: Opus always decodes at 48 kHz.
    """

    rate: int
    channels: int
    frames: int
    stated_rate: int

    def decode(self, begin: int, end: int) -> np.ndarray:
        """Samples [begin, end), within the file: float32 (end - begin, channels)."""

    def check_whole(self) -> None:
        """Raise an `AudioError` where the file's end is missing."""

    def close(self) -> None: ...


def family(path: str) -> Family:
    """What kind of sound file this is.

    Raises:
        AudioError: it is missing, empty, unreadable, of no kind that is read, or not what its extension says.
    """
    extension = os.path.splitext(path)[1].lower()
    try:
        if os.path.isdir(path):
            raise AudioError(path, "is a folder", "name a sound file")
        if os.stat(path).st_size == 0:
            raise AudioError(path, "empty file", "delete it or fetch it again")
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
            if head.startswith(b"ID3"):  # a tag that other kinds bear as well
                file.seek(mpeg.tag_bytes(head))
                head = file.read(_HEAD_BYTES) or head
    except FileNotFoundError:
        raise AudioError(path, "no such file", "check the path") from None
    except OSError as error:
        raise AudioError(path, f"unreadable ({error.strerror})", "check its permissions") from None
    found = next((one for one in FAMILIES if one.head.match(head)), None)
    if found is None and extension in MP3.extensions:
        found = MP3  # what a download or a broadcast left may lie before its first frame
    if found is None:
        remedy = "remove it, or, if it is sound, convert it to FLAC or WAV with the program that made it"
        raise AudioError(path, "not audio, or of a kind that is not read here", remedy)
    if extension in EXTENSIONS and extension not in found.extensions and found.name not in _ALSO.get(extension, ()):
        remedy = f"rename it to end in {' or '.join(sorted(found.extensions))}"
        raise AudioError(path, f"mislabelled: named {extension} but holds {found.name}", remedy)
    return found


@contextmanager
def opened(path: str) -> Iterator[Track]:
    """A sound file of whatever kind, open for decoding.

    Raises:
        AudioError: it can't be read, or holds no sound.
    """
    track = _track(path, family(path))
    try:
        if not _SLOWEST <= track.rate <= _FASTEST or track.channels <= 0:
            reason = f"its header states {track.rate:,} Hz and {track.channels} channel(s)"
            raise AudioError(path, reason, "repair the header or remove the file")
        if track.frames <= 0:
            track.check_whole()  # cut behind its header
            raise AudioError(path, "zero length: a header without samples", "record it again")
        yield track
    finally:
        track.close()


def _track(path: str, kind: Family) -> Track:
    """Whichever of libsndfile and ffmpeg reads this file as it is meant; libsndfile, the faster one, where both do."""
    if kind is MP3:
        return mpeg.Mp3(path)
    if kind.name in _UNCOMPRESSED:
        return _uncompressed(path, kind)
    if kind.name == "FLAC":
        sound = sndfile.Sndfile(path, look=True)
        if sound.knows_its_length:
            return sound
    status = os.stat(path)
    parts, missing = _parts(path, kind, status.st_mtime_ns, status.st_size)
    if parts == [ffmpeg.Part(path, _VORBIS)]:
        return sndfile.Sndfile(path, missing)
    return Ffmpeg(path, parts, missing)


def _uncompressed(path: str, kind: Family) -> Track:
    with open(path, "rb") as file:
        samples = headers.samples(file, _UNCOMPRESSED[kind.name])
    if samples is None:
        raise AudioError(path, "zero length: a header without samples", "record it again")
    missing = None
    if samples.cut:
        missing = f"truncated: {samples.present:,} of {samples.promised:,} bytes of sound are left", salvage(path)
    elif samples.stale:
        reason = f"its header counts {samples.promised:,} bytes of sound, and more follows that is no chunk of it"
        missing = reason, f"keep all of it: ffmpeg -ignore_length 1 -i {path} whole.wav"
    readers: list[Callable[[], Track]] = [lambda: Ffmpeg(path, [ffmpeg.Part(path, kind.demuxer)], missing)]
    if samples.codec in _SNDFILE_TAGS:
        readers.insert(0, lambda: sndfile.Sndfile(path, missing))
    found: list[Track] = []
    errors: list[AudioError] = []
    for reader in readers:
        try:
            found.append(reader())
        except AudioError as error:
            errors.append(error)
        # Where the recorder did not say how much there is, each of the two finds out in some formats only.
        if found and samples.promised is not None:
            break
    if not found:
        raise errors[0]
    return max(found, key=lambda track: track.frames)


class Ffmpeg:
    """A file that ffmpeg reads: one part, or the links of a chained Ogg file one after the other."""

    def __init__(self, path: str, parts: list[ffmpeg.Part], missing: tuple[str, str] | None) -> None:
        self._path, self._parts, self._missing = path, parts, missing
        self._indices = [ffmpeg.index(part) for part in parts]
        first = self._indices[0]
        self.rate, self.channels, self.stated_rate = first.rate, first.channels, first.stated_rate
        for one in self._indices:
            if (one.rate, one.channels) != (first.rate, first.channels):
                reason = "chained from streams of different rates or channel counts"
                raise AudioError(path, reason, "split it into its streams")
        self.frames = sum(one.frames for one in self._indices)
        stated = first.stated_seconds
        if missing is None and parts[0].demuxer in _STATING and stated is not None:
            seconds = self.frames / self.rate
            if seconds < stated - max(_SHORT_SECONDS, 0.01 * stated):
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
def _parts(path: str, kind: Family, changed: int, size: int) -> tuple[list[ffmpeg.Part], tuple[str, str] | None]:
    """What is to be read of a compressed file; reason and remedy if it is not whole."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        reason = containers.missing(content, kind.demuxer)
        missing = (reason, salvage(path)) if reason else None
        if kind.demuxer != "ogg":
            return [ffmpeg.Part(path, kind.demuxer)], missing
        links = containers.ogg_links(content)
        if len(links) == 1 and content.find(b"\x01vorbis", 0, 64) > 0:
            return [ffmpeg.Part(path, _VORBIS)], missing
    return [ffmpeg.Part(path, "ogg", *link) for link in links], missing
