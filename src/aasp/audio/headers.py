"""Where the samples of an uncompressed file lie, and whether all that its header promises is there.

Decoders take what is left of a cut file without a word, and some stop at a length that the recorder never filled in.
So the chunks of RIFF (WAV), RF64, W64, AIFF, AU and CAF files are walked here, and nothing else is looked at.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# Writers that stream don't know the length and leave 0, all ones, or a number about as large as the field can hold.
_STREAMED = 0x7FFF0000
# Some writers count a part of the header as data, or pad what follows it.
SLACK_BYTES = 64
_W64_ID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # what follows the four letters in a W64 chunk's name


@dataclass(frozen=True)
class Samples:
    """The part of a file that holds its samples.

    Attributes:
        promised: bytes that the header says; None where the recorder did not know or never filled it in.
        present: bytes from the first sample to the end of the file.
        codec: a WAV file's format tag (1 is PCM, 3 float, …); None elsewhere.
        stale: more than the promised bytes lie there, and what follows them is no chunk.
    """

    promised: int | None
    present: int
    codec: int | None = None
    stale: bool = False

    @property
    def cut(self) -> bool:
        """Whether bytes that the header promises are missing."""
        return self.promised is not None and self.present + SLACK_BYTES < self.promised


def samples(file: BinaryIO, kind: str) -> Samples | None:
    """Find the samples in an open file of the kind "wav", "w64", "aiff", "au" or "caf"; None if there are none."""
    size = os.fstat(file.fileno()).st_size
    if kind == "au":
        begin, promised = struct.unpack(">II", _at(file, 4, 8))
        present = max(0, size - begin)
        unknown = promised == 0xFFFFFFFF or (promised == 0 and present > 0)
        return Samples(None if unknown else promised, present, stale=not unknown and present > promised + SLACK_BYTES)
    codec, long_length = None, None
    for name, begin, length in {"wav": _riff, "w64": _w64, "aiff": _aiff, "caf": _caf}[kind](file, size):
        if name == b"fmt ":
            codec = _format_tag(_at(file, begin, 26))
        elif name == b"ds64":
            long_length = struct.unpack("<Q", _at(file, begin + 8, 8))[0]
        elif name in (b"data", b"SSND"):
            lead = {"aiff": 8, "caf": 4}.get(kind, 0)  # offset and block size; edit count
            begin, length = begin + lead, max(0, length - lead)
            if kind == "wav" and length == 0xFFFFFFFF and long_length is not None:
                length = long_length
            present = size - begin
            limit = _STREAMED if kind in ("wav", "aiff") and long_length is None else 2**62
            follows = present > length and _is_chunk(file, begin + length + length % 2, size, kind)
            unknown = length > present and length >= limit
            unknown |= length == 0 and present > 0 and not follows
            stale = not unknown and present > length + SLACK_BYTES and not follows
            return Samples(None if unknown else length, present, codec, stale)
    return None


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    """So many bytes from a place, zeros for what lies beyond the end."""
    file.seek(place)
    return file.read(count).ljust(count, b"\0")


def _format_tag(fmt: bytes) -> int:
    """The codec of a WAV file; an extensible header has it in the first two bytes of its GUID."""
    tag = struct.unpack_from("<H", fmt)[0]
    return struct.unpack_from("<H", fmt, 24)[0] if tag == 0xFFFE else tag


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
        # A length of less than its own header, or a negative one, is one that was not filled in.
        yield name, place + 24, length - 24 if length >= 24 else 0
        place += max(24, (length + 7) // 8 * 8)


def _caf(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    place = 8
    while place + 12 <= size:
        name, length = struct.unpack(">4sq", _at(file, place, 12))
        yield name, place + 12, length if length >= 0 else 2**63 - 1  # -1: to the end of the file
        place += 12 + max(0, length)


def _is_chunk(file: BinaryIO, place: int, size: int, kind: str) -> bool:
    """Whether a chunk, or the odd byte or zeros that fill up the file, begins here."""
    head = _at(file, place, 12)
    if place >= size or not any(head):
        return True
    if kind == "w64":
        return _at(file, place, 16)[4:] == _W64_ID
    name = head[:4]
    if name in (b"RIFF", b"FORM", b"RF64", b"caff") or not all(32 <= letter < 127 for letter in name):
        return False  # a second file behind the first is no chunk of it
    form, width = {"caf": (">q", 8), "aiff": (">I", 4)}.get(kind, ("<I", 4))
    return 0 <= struct.unpack(form, head[4 : 4 + width])[0] <= size - place
