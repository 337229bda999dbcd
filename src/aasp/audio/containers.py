"""What a compressed file's container says of its own end, and the links of an Ogg file.

Ogg: RFC 3533. MP4: ISO/IEC 14496-12. Matroska and WebM: RFC 9559. ASF (WMA): its specification, section 3.2.
"""

from __future__ import annotations

import mmap
import re
from itertools import pairwise

_OGG_FIRST_PAGE = re.compile(rb"OggS\0[\x02\x06]")
_OGG_PAGE = re.compile(rb"OggS\0[\x00-\x07]")
_OGG_PAGE_BYTES = 65_307  # the longest there can be
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MATROSKA_SEGMENT = b"\x18\x53\x80\x67"


def ogg_links(content: mmap.mmap) -> list[tuple[int, int, int | None]]:
    """(first byte, the one behind the last, samples) of each link: streams that were written one behind the other.

    Streams side by side, as sound and video, all begin before any other page, and are one link, whose samples are not
    counted.
    """
    firsts = [found.start() for found in _OGG_FIRST_PAGE.finditer(content)]
    begins, streams = firsts[:1], [1]
    for before, place in pairwise(firsts):
        if _ogg_page_end(content, before) == place:
            streams[-1] += 1
        else:
            begins.append(place)
            streams.append(1)
    ends = [*begins[1:], len(content)]
    counts = [_ogg_samples(content, end) if many == 1 else None for end, many in zip(ends, streams, strict=False)]
    return list(zip(begins, ends, counts, strict=True))


def _ogg_samples(content: mmap.mmap, end: int) -> int | None:
    """The position that the last page before `end` says its sound reaches."""
    place = _ogg_last_page(content, end)
    return int.from_bytes(content[place + 6 : place + 14], "little") if place >= 0 else None


def _ogg_last_page(content: mmap.mmap, end: int) -> int:
    """Where the last page before `end` begins; -1 if there is none."""
    pages = [found.start() for found in _OGG_PAGE.finditer(content, max(0, end - _OGG_PAGE_BYTES), end)]
    return pages[-1] if pages else -1


def missing(content: mmap.mmap, demuxer: str) -> str | None:
    """Why the file is not whole; None if it is, or its container does not tell."""
    if demuxer == "ogg":
        return _ogg_missing(content)
    if demuxer == "mov":
        promised = _mov_bytes(content)
    elif demuxer == "matroska":
        promised = _matroska_bytes(content)
    elif demuxer == "asf":
        found = content.find(_ASF_FILE_PROPERTIES, 0, 4096)
        promised = int.from_bytes(content[found + 40 : found + 48], "little") if found > 0 else 0
    else:
        return None
    lacking = promised - len(content)
    return f"truncated: {lacking:,} of {promised:,} bytes are missing" if lacking > 0 else None


def _ogg_missing(content: mmap.mmap) -> str | None:
    last = _ogg_last_page(content, len(content))
    if last < 0 or not 0 < _ogg_page_end(content, last) <= len(content):
        return "truncated: it ends within a page"
    return None if content[last + 5] & 4 else "truncated: its last page is not marked as the last"


def _ogg_page_end(content: mmap.mmap, place: int) -> int:
    """The byte behind the page that begins here; 0 if its header is cut."""
    if place + 27 > len(content):
        return 0
    lacing = content[place + 27 : place + 27 + content[place + 26]]
    return place + 27 + len(lacing) + sum(lacing) if len(lacing) == content[place + 26] else 0


def _mov_bytes(content: mmap.mmap) -> int:
    """Where the last box ends that the file begins."""
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        if size == 0:  # to the end of the file
            return len(content)
        if size < 8 or not content[place + 4 : place + 8].isascii():  # no box: something was appended
            return place
        place += size
    return place


def _matroska_bytes(content: mmap.mmap) -> int:
    """Where the segment ends; 0 where a live recorder left its size open."""
    place = content.find(_MATROSKA_SEGMENT, 0, 4096)
    if place < 0 or place + 5 > len(content):
        return 0
    first = content[place + 4]
    width = 9 - first.bit_length()
    value = int.from_bytes(content[place + 4 : place + 4 + width], "big") & ((1 << 7 * width) - 1)
    return 0 if value == (1 << 7 * width) - 1 else place + 4 + width + value
