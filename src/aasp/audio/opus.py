"""How many samples each packet of an Ogg Opus file gives, from its pages alone (RFC 7845, RFC 6716 section 3.1).

Nothing is demuxed or decoded for it: listing sets of Opus, and finding windows in new files, is ten times faster.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np

_MAX_PACKET = 5_760  # samples of a packet: 120 ms
# Samples of each frame, by the first byte of a packet.
_FRAME = [
    (480, 960, 1920, 2880)[kind & 3] if kind < 12 else (480, 960)[kind & 1] if kind < 16 else 120 << (kind & 3)
    for kind in (first >> 3 for first in range(256))
]


@dataclass(frozen=True)
class Packets:
    """The packets of a stream.

    Attributes:
        times: the start of each packet, in samples from the first one played (packets,).
        produced: cumulative samples up to and including each packet (packets,).
        channels: number of channels.
        rate: Hz of the encoded source; 0 if not stated.
    """

    times: np.ndarray
    produced: np.ndarray
    channels: int
    rate: int


def samples(packet: bytes) -> int:
    """Samples at 48 kHz in an Opus packet."""
    if not packet:
        return 0
    code = packet[0] & 3
    return _FRAME[packet[0]] * (1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 0)


def packets(content: mmap.mmap, begin: int, end: int) -> Packets | None:
    """The packets of the Opus stream whose pages lie in [begin, end).

    None if pages alone do not suffice: parallel streams, surround sound, a beginning or an end that was cut, missing
    pages.
    """
    place, number, start, heads = begin, 0, -1, 0
    counts: list[int] = []
    serial, position, head, last = b"", 0, b"", False
    while place < end:
        page = content[place : place + 27]
        if len(page) < 27 or page[:4] != b"OggS" or page[14:18] != (serial or page[14:18]):
            return None
        if int.from_bytes(page[18:22], "little") != number or (page[5] & 1) != (start >= 0):
            return None
        serial, number = page[14:18], number + 1
        body = place + 27 + page[26]
        for size in content[place + 27 : body]:
            if start < 0:
                start = body
            body += size
            if size == 255:
                continue
            if heads < 2:  # OpusHead, OpusTags
                head = head or content[start:body]
                heads += 1
            else:
                counts.append(samples(content[start : min(start + 2, body)]))
            start = -1
        last = bool(page[5] & 4)
        position, before = int.from_bytes(page[6:14], "little", signed=True), position
        if counts and before == 0 and not last and position not in (-1, sum(counts)):
            return None  # the beginning is missing
        place = body
        if last:
            break
    skip = int.from_bytes(head[10:12], "little")
    total = sum(counts)
    whole = last and place == end and start < 0 and head[:8] == b"OpusHead" and len(head) >= 19 and head[18] == 0
    if not whole or not counts or min(counts) == 0 or not skip < position <= total < position + 2 * _MAX_PACKET:
        return None
    ends = np.cumsum(np.array(counts, dtype=np.int64))
    produced = np.clip(ends - skip, 0, position - skip)
    return Packets(ends - counts - skip, produced, head[9], int.from_bytes(head[12:16], "little"))
