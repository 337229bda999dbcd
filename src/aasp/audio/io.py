"""Sound files in, mono float32 out: WAV, FLAC, Ogg Vorbis, Opus and MP3, at any rate and channel count.

Decoding is libsndfile's (through soundfile), resampling soxr's HQ filter. A window of a file costs a window's decoding.
A file that is not whole is refused, not shortened: half a download is half a clip under a full clip's label.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from aasp.errors import AaspError

# What each extension may hold, in libsndfile's names.
_FORMATS = {
    ".wav": {"WAV", "WAVEX", "RF64"},
    ".flac": {"FLAC"},
    ".ogg": {"OGG"},
    ".oga": {"OGG"},
    ".opus": {"OGG"},
    ".mp3": {"MP3"},
}
EXTENSIONS = frozenset(_FORMATS)

# Input samples on each side of a window, counted at the lower of the two rates: soxr HQ's taps reach about 70.
_MARGIN = 160
# MP3 without a Xing header states no length: it is estimated from the file's size, tags included.
_MP3_SLACK_SECONDS = 0.5
_OGG_PAGE_BYTES = 65_307  # the longest there can be
_UNKNOWN_FRAMES = 2**62  # libsndfile's way to say that a FLAC encoder was writing to a pipe
# Some writers count a part of the header as data.
_WAV_SLACK_BYTES = 64
# Writers that stream don't know the length beforehand and leave a number about as large as the field can hold.
_STREAMED_BYTES = 0x7FFF0000
# Ways for an .mp3 to begin. Anything else would make libmpg123 write notes of its own to stderr.
_MP3_HEAD = re.compile(rb"\A(ID3|RIFF|RF64|OggS|fLaC)|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")


class AudioError(AaspError):
    """A sound file that can't be used.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, remedy: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}; {remedy}")
        self.path = os.fspath(path)
        self.reason = reason


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: its length in seconds and in frames, its rate in Hz, its channel count."""

    path: str
    seconds: float
    rate: int
    channels: int
    frames: int


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a file's header, and enough of its end to know that the file is whole; decode nothing else.

    Raises:
        AudioError: the file is missing, empty, truncated, of zero length or 0 Hz, not audio, or not what its
            extension says.
    """
    with _open(path) as sound:
        _check_whole(path, sound)
        seconds = sound.frames / sound.samplerate
        return AudioInfo(os.fspath(path), seconds, sound.samplerate, sound.channels, sound.frames)


def read(
    path: str | os.PathLike[str], *, rate: int = 16_000, start: float = 0.0, seconds: float | None = None
) -> np.ndarray:
    """Decode a file, or a window of it, to mono at the wanted rate.

    Channels are averaged. A window equals the same slice of the whole file's samples: exactly at the file's own rate,
    to rounding when resampled; lossy codecs restart inside the stream and may differ by about 1e-3.

    Args:
        path: the file.
        rate: samples per second of the result.
        start: where the window begins, in seconds.
        seconds: its length; None reads to the end.

    Returns:
        float32 (samples,): `round(seconds * rate)` samples, fewer where the file ends earlier.

    Raises:
        AudioError: as `probe` does; also for NaN or infinite samples and for a start at or after the end.
        AaspError: `rate` or `seconds` is not positive, or `start` is negative.
    """
    if rate <= 0 or start < 0 or (seconds is not None and seconds <= 0):
        window = f"rate {rate}, start {start}, seconds {seconds}"
        raise AaspError(f"no such window: {window}; give a positive rate and length and no negative start")
    with _open(path) as sound:
        if seconds is None:
            _check_whole(path, sound)
        native, frames = sound.samplerate, sound.frames
        length = (2 * frames * rate + native) // (2 * native)
        first = round(start * rate)
        last = length if seconds is None else min(length, first + round(seconds * rate))
        if first >= last:
            reason = f"window at {start:g} s is outside its {frames / native:g} s"
            raise AudioError(path, reason, "choose an earlier start")
        if native == rate:
            return _decode(path, sound, first, last)
        # Decode from a moment at which both sample grids meet, so that a window lands on the whole file's samples.
        shared = math.gcd(native, rate)
        margin = math.ceil(_MARGIN * max(1.0, native / rate))
        meeting = max(0, first * native // rate - margin) // (native // shared)
        begin, end = meeting * (native // shared), min(frames, math.ceil(last * native / rate) + margin)
        offset = first - meeting * (rate // shared)
        wave = soxr.resample(_decode(path, sound, begin, end), native, rate)
        return np.ascontiguousarray(wave[offset : offset + last - first])


def _open(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    """Open a file for decoding, or say why it can't be."""
    name = os.fspath(path)
    extension = os.path.splitext(name)[1].lower()
    try:
        if os.path.isdir(name):
            raise AudioError(name, "is a folder", "name a sound file")
        if os.stat(name).st_size == 0:
            raise AudioError(name, "empty file", "delete it or fetch it again")
        with open(name, "rb") as file:
            head = file.read(4096) if extension == ".mp3" else b""
    except FileNotFoundError:
        raise AudioError(name, "no such file", "check the path") from None
    except OSError as error:
        raise AudioError(name, f"unreadable ({error.strerror})", "check its permissions") from None
    if extension == ".mp3" and not _MP3_HEAD.search(head):
        raise AudioError(name, "not audio (no MP3 frame at its beginning)", "remove it or fetch it again")
    try:
        sound = soundfile.SoundFile(name)
    except soundfile.LibsndfileError as error:
        raise AudioError(name, *_why_unopened(error.error_string)) from None
    try:
        if sound.format not in _FORMATS.get(extension, {sound.format}):
            remedy = f"rename it or convert it to a true {extension} file"
            raise AudioError(name, f"mislabelled: named {extension} but holds {sound.format}", remedy)
        if sound.samplerate <= 0 or sound.channels <= 0:
            raise AudioError(name, *_why_unopened("incomplete"))
        if sound.frames <= 0:
            if sound.format in ("WAV", "WAVEX", "OGG"):
                _check_whole(path, sound)  # cut behind its header
            raise AudioError(name, "zero length: a header without samples", "delete it or record it again")
        if sound.frames >= _UNKNOWN_FRAMES:
            raise AudioError(name, "its header does not state its length", "encode it again, to a file and not a pipe")
    except AudioError:
        sound.close()
        raise
    return sound


def _why_unopened(message: str) -> tuple[str, str]:
    """Reason and remedy for libsndfile's message."""
    if "incomplete" in message:
        return "its header states 0 Hz or no channels", "repair the header or remove the file"
    if "malformed" in message:
        return "truncated or damaged (malformed)", "fetch it again"
    if "regular file" in message:  # its words for an .mp3 without one whole frame; that the file exists we know
        return "truncated or damaged (no whole MP3 frame)", "fetch it again"
    return f"not audio ({message.rstrip('.')})", "remove it, or convert it to WAV, FLAC, Ogg, Opus or MP3"


def _check_whole(path: str | os.PathLike[str], sound: soundfile.SoundFile) -> None:
    """Refuse a file whose end is missing: libsndfile takes what is left of a cut WAV or Ogg file without a word.

    Leaves the position at the beginning.
    """
    if sound.format in ("FLAC", "MP3"):
        # The header's length stands whatever follows it: look at the last sample promised.
        last = max(0, sound.frames - 1 - _slack(sound))
        _decode(path, sound, last, last + 1)
        sound.seek(0)
    elif not (_ends_with_its_last_page(path) if sound.format == "OGG" else _has_the_bytes_promised(sound)):
        raise AudioError(path, f"truncated: it ends early, at {sound.frames / sound.samplerate:g} s", "fetch it again")


def _ends_with_its_last_page(path: str | os.PathLike[str]) -> bool:
    """Whether an Ogg file's last page is all there and marked as the last (RFC 3533, section 6)."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _OGG_PAGE_BYTES))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27:
        return False
    lacing = page[27 : 27 + page[26]]
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(lacing)


def _has_the_bytes_promised(sound: soundfile.SoundFile) -> bool:
    """Whether a WAV file's data chunk is as long as its header says; libsndfile tells in its log only."""
    data = re.search(r"^data : (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
    return data is None or not int(data[2]) + _WAV_SLACK_BYTES < int(data[1]) < _STREAMED_BYTES


def _slack(sound: soundfile.SoundFile) -> int:
    """Frames that may be missing from the length promised."""
    return round(_MP3_SLACK_SECONDS * sound.samplerate) if sound.format == "MP3" else 0


def _decode(path: str | os.PathLike[str], sound: soundfile.SoundFile, begin: int, end: int) -> np.ndarray:
    """Frames [begin, end) at the file's own rate, averaged over channels: float32 (frames,)."""
    try:
        sound.seek(begin)
        frames_FC = sound.read(end - begin, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = f"truncated or damaged before {end / sound.samplerate:g} s ({error.error_string.rstrip('.')})"
        raise AudioError(path, reason, "fetch it again") from None
    if len(frames_FC) == 0 or len(frames_FC) < end - begin - _slack(sound):
        promised = sound.frames / sound.samplerate
        ends = (begin + len(frames_FC)) / sound.samplerate
        raise AudioError(path, f"truncated: nothing after {ends:g} s of the {promised:g} s promised", "fetch it again")
    if sound.channels == 1:
        wave = frames_FC[:, 0]
    elif sound.channels == 2:  # the mean, to the bit; numpy takes twenty times as long over rows of two
        wave = (frames_FC[:, 0] + frames_FC[:, 1]) * np.float32(0.5)
    else:
        wave = frames_FC.mean(axis=1)
    if not np.isfinite(wave).all():
        raise AudioError(path, "NaN or infinite samples", "repair or remove it")
    return wave
