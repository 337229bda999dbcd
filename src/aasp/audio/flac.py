"""Whether a FLAC file ends where its header says (RFC 9639): libsndfile stops there, whatever follows."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

_MARK = b"fLaC"
_TAIL_BYTES = 1 << 17  # more than the last frame of any file has, but of the widest
_FRAME = re.compile(rb"\xff[\xf8\xf9][^\x00-\x0f].", re.DOTALL)
_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{code: 256 << code - 8 for code in range(8, 16)}}


def another_follows(file: BinaryIO, samples: int) -> bool:
    """Whether the last frame is not the one that the header's count of samples ends with, or the second half is a file.

    Of two files one behind the other, equally long in samples and not in bytes, nothing is noticed.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(size // 2)
    if size % 2 == 0 and file.read(4) == _MARK:
        return True
    file.seek(0)
    head = file.read(42)
    block = int.from_bytes(head[10:12], "big")  # the largest, which is that of all frames but the last
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    found = [place.start() for place in _FRAME.finditer(tail)]
    for place in reversed(found):
        frame = _frame(tail[place : place + 16], block)
        if frame is not None:
            begin, length = frame
            return not begin < samples <= begin + length
    return False


def _frame(head: bytes, block: int) -> tuple[int, int] | None:
    """(first sample, samples) of the frame with this head; None if it is none."""
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
