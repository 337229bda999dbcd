"""Files that consist of frames only: ADTS (AAC), AC-3, E-AC-3, DTS and AMR. Is the last frame complete?

Each frame states its length, so the frames are walked one by one (ISO/IEC 13818-7, ETSI TS 102 366, ETSI TS 102 114,
RFC 4867).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

from aasp.audio import tags

_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AMR_BYTES = (12, 13, 15, 17, 19, 20, 26, 31, 5, -1, -1, -1, -1, -1, -1, 0)
_AMR_WIDE_BYTES = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, -1, -1, -1, -1, 0, 0)
_AMR_WIDE = b"#!AMR-WB\n"
# More bytes than this outside of frames are damage; fewer are padding.
_PADDING_BYTES = 2048


def missing(content: mmap.mmap, demuxer: str) -> str | None:
    """Why the file is incomplete; None if it is complete."""
    place = tags.leading(content)
    if demuxer == "amr":
        place = len(_AMR_WIDE) if content[: len(_AMR_WIDE)] == _AMR_WIDE else len(b"#!AMR\n")
    length_of, kind, number = LENGTHS[demuxer], b"", 0
    while place < len(content):
        head = content[place : place + 8]
        if tags.begins(content, place) or not any(content[place : place + _PADDING_BYTES]):
            return None
        length = length_of(head, content)
        if length <= 0:
            left = len(content) - place
            if left < 8:
                return f"truncated: its frame {number + 1:,} is cut"
            return f"damaged: {left:,} bytes behind frame {number:,} are no sound" if number else None
        if place + length > len(content):
            return f"truncated: its frame {number + 1:,} is cut"
        if demuxer == "aac":
            alike = bytes([head[2] & 0xFD, head[3] & 0xC0])  # profile, rate and channels
            if kind and alike != kind:
                return f"changes within: rate or channels differ from frame {number + 1:,} on"
            kind = alike
        place += length
        number += 1
    return None


def _adts(head: bytes, content: mmap.mmap) -> int:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _ac3(head: bytes, content: mmap.mmap) -> int:
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return 0
    if head[5] >> 3 > 10:  # E-AC-3
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code >= 2 * len(_AC3_KBPS):
        return 0
    kbps = _AC3_KBPS[code // 2]
    return {0: 4 * kbps, 1: 2 * (kbps * 96_000 // 44_100 + code % 2), 2: 6 * kbps}[rate]


def _dts(head: bytes, content: mmap.mmap) -> int:
    if len(head) < 8 or head[:4] != b"\x7f\xfe\x80\x01":
        return 0
    return ((head[5] & 3) << 12 | head[6] << 4 | head[7] >> 4) + 1


def _amr(head: bytes, content: mmap.mmap) -> int:
    sizes = _AMR_WIDE_BYTES if content[: len(_AMR_WIDE)] == _AMR_WIDE else _AMR_BYTES
    return 1 + sizes[head[0] >> 3 & 15]


LENGTHS: dict[str, Callable[[bytes, mmap.mmap], int]] = {
    "aac": _adts,
    "ac3": _ac3,
    "eac3": _ac3,
    "dts": _dts,
    "amr": _amr,
}
"""Bytes of the frame with this header, by ffmpeg's demuxer name; 0 if no frame begins there."""
