"""Where a compressed file ends according to its container, and the links of an Ogg file.

Ogg: RFC 3533. MP4: ISO/IEC 14496-12. Matroska and WebM: RFC 9559. ASF (WMA): its specification, section 3.2. True
Audio, VOC and NIST SPHERE: their headers' descriptions. AVI: RIFF.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass

from aasp.audio import frames

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MATROSKA_SEGMENT, _MATROSKA_CLUSTER = 0x18538067, 0x1F43B675
# Top-level boxes of an MP4 file; anything else there was appended.
_MOV_BOXES = frozenset(
    b"ftyp moov mdat free skip wide uuid moof mfra sidx styp pdin meta pnot udta ssix prft emsg".split()
)
# sox states the length of a VOC file's only block 8 bytes too short.
_VOC_SLACK = 16
# Flags of Ogg pages: (first of a stream, last of a stream).
_OGG_FIRST, _OGG_LAST = 2, 4


@dataclass
class Link:
    """Parallel streams of an Ogg file; several links in sequence make a chained file.

    Attributes:
        begin: the first byte.
        end: the byte after the last.
        streams: number of streams.
        samples: the end position of the sound, from the last page.
        before_last: the end position of the page before that.
        unit: greatest common divisor of the end positions of all pages but the last.
        missing: why it is incomplete; empty if it is complete.
    """

    begin: int
    end: int = 0
    streams: int = 0
    samples: int = 0
    before_last: int = 0
    unit: int = 0
    missing: str = ""


def ogg_links(content: mmap.mmap, begin: int = 0) -> list[Link]:
    """The links, found by scanning the pages."""
    links: list[Link] = []
    numbers: dict[int, int] = {}
    place, ended = content.find(b"OggS", begin), 0
    fresh = False  # whether only first pages were seen since a link began
    while 0 <= place <= len(content) - 27 and content[place : place + 4] == b"OggS":
        flags, position, serial, number = struct.unpack_from("<BqII", content, place + 5)
        end = _ogg_page_end(content, place)
        if flags & _OGG_FIRST:
            if not fresh:
                _close_link(links, len(numbers) - ended)
                links.append(Link(place))
                numbers, ended = {}, 0
            fresh = True
            links[-1].streams += 1
        elif not links:
            links.append(Link(place))
        else:
            fresh = False
            if serial in numbers and number not in (numbers[serial] + 1, 0):
                links[-1].missing = links[-1].missing or "damaged: pages are missing within"
        link = links[-1]
        numbers[serial] = number
        ended += bool(flags & _OGG_LAST)
        if position >= 0:
            link.unit = math.gcd(link.unit, link.samples)
            link.before_last, link.samples = link.samples, position
        if not 0 < end <= len(content):
            link.missing = "truncated: it ends within a page"
            link.end = len(content)
            return links
        link.end = end
        following = end if content[end : end + 4] == b"OggS" else content.find(b"OggS\0", end)
        if following > end and any(content[end:following]):
            link.missing = link.missing or f"damaged: {following - end:,} bytes within are no page"
        place = following
    if links and place < 0 and len(content) - links[-1].end < 27 and content[links[-1].end :].startswith(b"Ogg"):
        links[-1].missing = "truncated: it ends within a page"
    _close_link(links, len(numbers) - ended)
    return links


def _close_link(links: list[Link], open_streams: int) -> None:
    if links and open_streams > 0:
        links[-1].missing = links[-1].missing or "truncated: its last page is not marked as the last"


def missing(content: mmap.mmap, demuxer: str) -> str | None:
    """Why the file is incomplete; None if it is complete, or its container does not say."""
    if demuxer in frames.LENGTHS:
        return frames.missing(content, demuxer)
    measure = _PROMISED.get(demuxer)
    absent = measure(content) - len(content) if measure is not None else 0
    return f"truncated: {absent:,} of {absent + len(content):,} bytes are missing" if absent > 0 else None


def _ogg_page_end(content: mmap.mmap, place: int) -> int:
    """The byte after the page that begins here; 0 if its header is cut."""
    lacing = content[place + 27 : place + 27 + content[place + 26]]
    return place + 27 + len(lacing) + sum(lacing) if len(lacing) == content[place + 26] else 0


def _mov_bytes(content: mmap.mmap) -> int:
    """The end of the last box that begins in the file."""
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        if size == 0:  # to the end of the file
            return len(content)
        if size < 8 or (place + size > len(content) and content[place + 4 : place + 8] not in _MOV_BOXES):
            return place
        place += size
    return place


def _matroska_bytes(content: mmap.mmap) -> int:
    """The end of the last element that begins in the file; a live recorder leaves the outer sizes unknown."""
    place, end = 0, 0
    while place + 2 <= len(content):
        name, place = _matroska_number(content, place, marked=True)
        size, place = _matroska_number(content, place, marked=False)
        if name == _MATROSKA_SEGMENT and size is not None:
            return place + size
        if size is None and name not in (_MATROSKA_SEGMENT, _MATROSKA_CLUSTER):
            return end
        if size is not None:
            place += size
        end = place
    return end


def _matroska_number(content: mmap.mmap, place: int, marked: bool) -> tuple[int | None, int]:
    """(an element's name or size, the byte after it); None for an unknown size."""
    width = 9 - content[place].bit_length() if place < len(content) else 9
    if width > 8:
        return 0, place + 1
    value = int.from_bytes(content[place : place + width], "big")
    if not marked:
        value &= (1 << 7 * width) - 1
        if value == (1 << 7 * width) - 1:
            return None, place + width
    return value, place + width


def _asf_bytes(content: mmap.mmap) -> int:
    found = content.find(_ASF_FILE_PROPERTIES, 0, 4096)
    return int.from_bytes(content[found + 40 : found + 48], "little") if found > 0 else 0


def _avi_bytes(content: mmap.mmap) -> int:
    """The end of its last RIFF chunk; after a recorder's crash the length is still 0."""
    place = 0
    while content[place : place + 4] == b"RIFF" and (size := int.from_bytes(content[place + 4 : place + 8], "little")):
        place += 8 + size + size % 2
    return place - 1 if place == len(content) + 1 else place


def _flv_bytes(content: mmap.mmap) -> int:
    """The end of its last tag."""
    place = int.from_bytes(content[5:9], "big") + 4
    while place + 11 <= len(content):
        place += 11 + int.from_bytes(content[place + 1 : place + 4], "big") + 4
    return place


def _tta_bytes(content: mmap.mmap) -> int:
    if content[:4] != b"TTA1":
        return 0
    rate, samples = struct.unpack_from("<II", content, 10) if len(content) >= 22 else (0, 0)
    count = -(-samples // (256 * rate // 245)) if rate else 0
    sizes = content[22 : 22 + 4 * count]
    return 22 + 4 * count + 4 + sum(struct.unpack(f"<{len(sizes) // 4}I", sizes[: len(sizes) // 4 * 4]))


def _sphere_bytes(content: mmap.mmap) -> int:
    lines = content[:1024].split(b"\n")
    fields = {line.split()[0]: line.split()[-1] for line in lines if len(line.split()) == 3}
    try:
        counts = [int(fields[name]) for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
        return int(lines[1]) + counts[0] * counts[1] * counts[2]
    except (KeyError, IndexError, ValueError):
        return 0


def _voc_bytes(content: mmap.mmap) -> int:
    place = int.from_bytes(content[20:22], "little")
    while place + _VOC_SLACK <= len(content) and 0 < content[place] < 10:
        place += 4 + int.from_bytes(content[place + 1 : place + 4], "little")
    return place


def _transport_bytes(content: mmap.mmap) -> int:
    size = 192 if content[4:5] == b"\x47" and content[196:197] == b"\x47" else 188
    return -(-len(content) // size) * size


_PROMISED = {
    "mov": _mov_bytes,
    "matroska": _matroska_bytes,
    "asf": _asf_bytes,
    "avi": _avi_bytes,
    "flv": _flv_bytes,
    "tta": _tta_bytes,
    "nistsphere": _sphere_bytes,
    "voc": _voc_bytes,
    "mpegts": _transport_bytes,
}
