"""Where the samples of an uncompressed file are, and whether all bytes that its header promises are present.

Decoders silently accept a cut file, and some stop at a length that the recorder never filled in. So this walks the
chunks of RIFF (WAV), RF64, W64, AIFF, AU and CAF files, and reads nothing else.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from aasp.audio.error import RAW

# Streaming writers don't know the length and write 0, all ones, or a number close to the field's maximum.
_STREAMED = 0x7FFF0000
# So many bytes may follow the samples without being a chunk: padding, or an odd byte.
_PADDING_BYTES = 64
_W64_ID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # follows the four letters of the name in a W64 chunk
_FILES = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b".snd", b"riff")  # first bytes of another file
# Codecs that libsndfile reads correctly: PCM, float, A-law, µ-law, and G.721 and G.723 as Sun wrote them. In the
# others, ADPCM above all, decoders round differently, and ffmpeg is used.
_PLAIN: dict[str, frozenset[int | bytes]] = {
    "wav": frozenset({1, 3, 6, 7, 0x38, 0x40}),
    "w64": frozenset({1, 3, 6, 7}),
    "aiff": frozenset({b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"})
    | {b"ulaw", b"ULAW", b"alaw", b"ALAW", b"DWVW", b"GSM "},
    "caf": frozenset({b"lpcm", b"ulaw", b"alaw"}),
    "au": frozenset({1, 2, 3, 4, 5, 6, 7, 23, 25, 26, 27}),
}
_TAGS = (b"TAG", b"ID3", b"APE")  # of taggers that ignore chunks
# DTS in 14 and 16 bits, and AC-3 and others in S/PDIF framing, in place of PCM.
_DISGUISED = re.compile(rb"\xff\x1f\x00\xe8|\xfe\x7f\x01\x80|\x7f\xfe\x80\x01|\x72\xf8\x1f\x4e")
_LOOK_BYTES, _BLOCK_BYTES = 1 << 15, 1 << 20
_AAC = frozenset({0xFF, 0x706D, 0x1600})  # as raw frames, which do not state where they end


Problem = tuple[str, str]
"""A reason and a remedy."""
_NO_SAMPLES = "zero length: a header without samples", "record it again"
_SEVERAL = "its sound is in several chunks, of which decoders read one", RAW
_CUT_HEADER = "truncated: it ends within its header", "fetch it again"


@dataclass(frozen=True)
class Samples:
    """The part of a file that holds its samples.

    Attributes:
        promised: bytes that the header states; None if the recorder did not know or never filled it in.
        present: bytes from the first sample to the end of the file.
        behind: the first byte after the promised ones.
        plain: libsndfile reads their codec correctly.
        big: it is RIFX, which ffmpeg reads as noise.
        excess: data after the promised bytes that is not a chunk: b"", or its first four bytes.
        contradiction: reason and remedy if the header is wrong.
        miscounted: the writer counted a part of the header as samples.
    """

    promised: int | None
    present: int
    behind: int = 0
    plain: bool = True
    big: bool = False
    excess: bytes = b""
    contradiction: Problem | None = None
    miscounted: bool = False

    @property
    def cut(self) -> bool:
        """Whether bytes that the header promises are missing."""
        return self.promised is not None and self.present < self.promised and not self.miscounted

    @property
    def another_file(self) -> bool:
        """Whether a second file follows."""
        return self.excess in _FILES


def samples(file: BinaryIO, kind: str) -> Samples | Problem:
    """Find the samples in an open file of kind "wav", "w64", "aiff", "au" or "caf"; or why there are none."""
    size = os.fstat(file.fileno()).st_size
    if kind == "au":
        return _au(file, size)
    codec: int | bytes | None = None
    contradiction, long_length, end, big = None, None, 0, _at(file, 0, 4) == b"RIFX"
    chunks = {"wav": _riff, "w64": _w64, "aiff": _aiff, "caf": _caf}[kind](file, size)
    for name, begin, length in chunks:
        end = begin + length
        if name in (b"fmt ", b"COMM", b"desc"):
            codec, contradiction = _codec(_at(file, begin, 26), kind, big, length)
        elif name == b"ds64":
            long_length = struct.unpack("<Q", _at(file, begin + 8, 8))[0]
        elif name in (b"data", b"SSND"):
            if codec is None and kind == "wav":
                return "no fmt chunk in front of its samples says what they are", RAW
            lead = {"aiff": 8, "caf": 4}.get(kind, 0)  # offset and block size; edit count
            begin, length = begin + lead, max(0, length - lead)
            if kind == "wav" and length == 0xFFFFFFFF and long_length is not None:
                length = long_length
            present, behind = max(0, size - begin), begin + length
            limit = _STREAMED if kind in ("wav", "aiff") and long_length is None else 2**62
            padded = behind + {"caf": 0, "w64": -length % 8}.get(kind, length % 2)
            follows = present > length and _is_chunk(file, padded, size, kind)
            unknown = length > present and length >= limit
            unknown |= length == 0 and present > 0 and not follows
            excess = not unknown and present > length + _PADDING_BYTES and not follows
            # Some writers count a part of the header as data; the file length in the outer header is then still right.
            outer = struct.unpack(">I" if kind == "aiff" else "<I", _at(file, 4, 4))[0] + 8
            miscounted = kind in ("wav", "aiff") and outer == size and length - present <= _PADDING_BYTES
            plain = codec in _PLAIN[kind] if codec is not None else True
            if kind == "w64" and not unknown and present > length:
                plain = False  # libsndfile reads what follows as samples
            if codec == 1 and _is_disguised(_at(file, begin, min(_LOOK_BYTES, present))):
                contradiction = "holds DTS or AC-3 where its header says PCM", "take it out: ffmpeg -i {name} kept.wav"
            if follows and any(length and name in (b"data", b"SSND") for name, _, length in chunks):
                contradiction = _SEVERAL
            left = _at(file, padded, 4) if excess else b""
            promised = None if unknown else length
            return Samples(promised, present, behind, plain, big, left, contradiction, miscounted)
        elif name == b"LIST" and _at(file, begin, 4) == b"wavl":
            return _SEVERAL
    return _CUT_HEADER if end > size else _NO_SAMPLES


def _au(file: BinaryIO, size: int) -> Samples | Problem:
    begin, promised, codec = struct.unpack(">III", _at(file, 4, 12))
    present = size - begin
    if present <= 0:
        short = size < 24 or promised not in (0, 0xFFFFFFFF)
        return _CUT_HEADER if short else _NO_SAMPLES
    unknown = promised in (0, 0xFFFFFFFF)
    excess = _at(file, begin + promised, 4) if not unknown and present > promised + _PADDING_BYTES else b""
    excess = b"" if excess[:3] in _TAGS or _only_zeros(file, begin + promised) else excess
    return Samples(None if unknown else promised, present, begin + promised, codec in _PLAIN["au"], excess=excess)


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    """`count` bytes from a place, with zeros for those beyond the end."""
    file.seek(min(place, 2**62))
    return file.read(count).ljust(count, b"\0")


def _codec(form: bytes, kind: str, big: bool, length: int) -> tuple[int | bytes, Problem | None]:
    """(codec, contradiction) of a fmt, COMM or desc chunk."""
    if kind == "aiff":
        return (form[18:22] if length >= 22 else b"NONE"), None
    if kind == "caf":
        return form[8:12], None
    tag, channels, _, _, block, bits = struct.unpack_from(">HHIIHH" if big else "<HHIIHH", form)
    if tag in _AAC:
        return tag, (
            "raw AAC in WAV, which does not say where a frame ends",
            "convert it to FLAC with the program that made it",
        )
    if tag in (1, 0xFFFE) and channels and block and bits and block != channels * -(-bits // 8):
        return tag, (f"its header contradicts itself: {block} bytes for {channels} channel(s) of {bits} bits", RAW)
    if tag != 0xFFFE:
        return tag, None
    # An extensible header has the codec in the first two bytes of its GUID; libsndfile reads all of W64's as PCM.
    return (-1 if kind == "w64" else struct.unpack_from(">H" if big else "<H", form, 24)[0]), None


def _is_disguised(content: bytes) -> bool:
    """Whether samples are frames of another codec: their marks recur from beginning to end at one distance.

    Single marks occur in sound. Long frames, of which two or three fit in, hold a multiple of 128 stereo samples.
    """
    places = [mark.start() for mark in _DISGUISED.finditer(content)]
    steps = {after - before for before, after in pairwise(places)}
    if len(steps) != 1 or (len(places) < 4 and min(steps) % 512):
        return False
    return places[0] < min(steps) > len(content) - places[-1] - 4


def _only_zeros(file: BinaryIO, place: int) -> bool:
    """Whether only zeros follow, up to the file's end or a tag; after silence within the sound, more follows."""
    file.seek(place)
    while block := file.read(_BLOCK_BYTES):
        if rest := block.lstrip(b"\0"):
            return _at(file, place + len(block) - len(rest), 3) in _TAGS
        place += len(block)
    return True


def _riff(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, bytes) of each chunk of RIFF, RF64, BW64 or RIFX."""
    yield from _chunks(file, size, ">4sI" if _at(file, 0, 4) == b"RIFX" else "<4sI")


def _aiff(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    yield from _chunks(file, size, ">4sI")


def _chunks(file: BinaryIO, size: int, form: str) -> Iterator[tuple[bytes, int, int]]:
    place = 12
    while place + 8 <= size:
        name, length = struct.unpack(form, _at(file, place, 8))
        yield name, place + 8, length
        place += 8 + length + length % 2


def _w64(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    place = 40
    while place + 24 <= size:
        name, length = struct.unpack("<4s12xQ", _at(file, place, 24))
        # A length below that of its own header, or a negative one, was not filled in.
        yield name, place + 24, length - 24 if length >= 24 else 0
        place += max(24, (length + 7) // 8 * 8)


def _caf(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    place = 8
    while place + 12 <= size:
        name, length = struct.unpack(">4sq", _at(file, place, 12))
        yield name, place + 12, length if length >= 0 else 2**63 - 1  # -1: to the end of the file
        place += 12 + max(0, length)


def _is_chunk(file: BinaryIO, place: int, size: int, kind: str) -> bool:
    """Whether a chunk begins here, or the odd byte or zeros that pad the file."""
    head = _at(file, place, 12)
    if place >= size or head[:3] in _TAGS or (not any(head) and _only_zeros(file, place)):
        return True
    if kind == "w64":
        return _at(file, place, 16)[4:] == _W64_ID
    name = head[:4]
    if name in _FILES or not all(32 <= letter < 127 for letter in name):
        return False
    form, width = {"caf": (">q", 8), "aiff": (">I", 4)}.get(kind, ("<I", 4))
    return 0 <= struct.unpack(form, head[4 : 4 + width])[0] <= size - place
