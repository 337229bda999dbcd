"""Whether a FLAC file ends where its header says (RFC 9639): libsndfile stops there, whatever follows."""

from __future__ import annotations

import mmap
import re
from typing import BinaryIO

_MARK = b"fLaC"
_STREAM = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the beginning of a file, with its STREAMINFO of 34 bytes
_TAIL_BYTES = 1 << 17  # more than the last frame of any file but the widest
_FRAME = re.compile(rb"\xff[\xf8\xf9][^\x00-\x0f].", re.DOTALL)
_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{code: 256 << code - 8 for code in range(8, 16)}}


def what_follows(file: BinaryIO, samples: int) -> str:
    """What follows the header's count of samples: "a second FLAC file", "more sound", or "" for nothing.

    A frame must pass both of its checksums: its sync code alone occurs in any sound.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if _STREAM.search(content, content.find(_MARK) + 4):
            return "a second FLAC file"
        head = content[:42] if content[:4] == _MARK else b""  # after an ID3 tag: ffmpeg reads the file
        tail = content[max(0, len(content) - _TAIL_BYTES) :]
    block = int.from_bytes(head[10:12], "big")  # the largest block, which is that of all frames but the last
    if not block:
        return ""
    for found in reversed([place.start() for place in _FRAME.finditer(tail)]):
        frame = _frame(tail[found : found + 16].ljust(16, b"\0"), block)
        if frame is not None and _crc16(tail[found:]) == 0:
            begin, length = frame
            return "more sound" if begin + length > samples else ""
    return ""  # a tag follows the last frame, or the frame is longer than the tail


def _frame(head: bytes, block: int) -> tuple[int, int] | None:
    """(first sample, samples) of the frame with this header; None if it is not a frame."""
    code, rate = head[2] >> 4, head[2] & 15
    if head[3] & 1 or rate == 15 or head[3] >> 4 > 10 or code not in {*_SIZES, 6, 7}:
        return None
    first = head[4]
    more = 0 if first < 0x80 else 7 - (~first & 0xFF).bit_length()
    number = first & (0x7F if not more else 0x3F >> more)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    place = 5 + more
    width = {6: 1, 7: 2}.get(code, 0)
    length = int.from_bytes(head[place : place + width], "big") + 1 if width else _SIZES[code]
    place += width + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if place >= len(head) or _crc8(head[:place]) != head[place]:
        return None
    return (number if head[1] & 1 else number * block), length


def _crc8(content: bytes) -> int:
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value


def _crc16(content: bytes) -> int:
    """Checksum of a frame; 0 if the content ends with its own checksum (polynomial 0x8005)."""
    value = 0
    for byte in content:
        value = value << 8 & 0xFFFF ^ _CRC16[value >> 8 ^ byte]
    return value


def _remainder(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1 ^ 0x8005 if value & 0x8000 else value << 1) & 0xFFFF
    return value


_CRC16 = [_remainder(byte) for byte in range(256)]
