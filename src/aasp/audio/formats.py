"""Which formats are supported, how a file's format is identified, and which decoder reads it.

The first bytes of a file identify its format, and its extension has to agree. Nothing is guessed: ffmpeg alone would
take texts for playlists and noise for MP3.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from aasp.audio import av_file, compressed, headers, mpeg, sndfile, tags
from aasp.audio.error import RAW, AudioError, quoted, salvage
from aasp.waveforms import MAX_RATE, MIN_RATE


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
_HEAD_BYTES = 1024


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
            tag = tags.after(file)  # some other formats have one too
            file.seek(tag)
            head = file.read(_HEAD_BYTES) or b"ID3"
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
        if not MIN_RATE <= track.rate <= MAX_RATE or track.channels <= 0:
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
    return compressed.track(path, kind.demuxer)


def _uncompressed(path: str, kind: Family) -> Track:
    with open(path, "rb") as file:
        samples = headers.samples(file, UNCOMPRESSED[kind.name])
    if isinstance(samples, tuple):
        raise AudioError(path, *samples)
    if samples.contradiction:
        reason, remedy = samples.contradiction
        raise AudioError(path, reason, remedy.format(name=quoted(path)))
    missing = _why_not_whole(path, samples)
    part = av_file.Part(path, kind.demuxer, ignoring_length=samples.promised is None and kind.demuxer == "wav")
    readers: list[Callable[[], Track]] = [
        lambda: sndfile.Sndfile(path, missing),
        lambda: compressed.Ffmpeg(path, [part], missing),
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
