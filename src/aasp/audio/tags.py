"""Tags around sound: ID3 before and after, APE and Lyrics3 after."""

from __future__ import annotations

import mmap
from typing import BinaryIO

_ID3V1_BYTES = 128


def length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that begins here; 0 if none does."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + 10 * (head[5] >> 4 & 1)


def begins(content: mmap.mmap, place: int) -> bool:
    """Whether one of the tags that follow sound begins here."""
    return content[place : place + 3] in (b"TAG", b"ID3") or content[place : place + 8] in (b"APETAGEX", b"LYRICSBE")


def leading(content: mmap.mmap) -> int:
    """The byte after all ID3v2 tags at the beginning of the file."""
    place = 0
    while tag := length(content[place : place + 10]):
        place += tag
    return place


def after(file: BinaryIO) -> int:
    """The same for an open file, which is read no further."""
    place = 0
    while tag := length(file.read(10)):
        place += tag
        file.seek(place)
    return place


def trailing(content: mmap.mmap) -> int:
    """The first byte of all tags at the end of the file."""
    end = len(content)
    while True:
        if content[end - _ID3V1_BYTES : end - _ID3V1_BYTES + 3] == b"TAG":
            end -= _ID3V1_BYTES
        elif content[end - 32 : end - 24] == b"APETAGEX":
            size, flags = (int.from_bytes(content[end - at : end - at + 4], "little") for at in (20, 12))
            end -= min(size + 32 * (flags >> 31), end)
        elif content[end - 9 : end] == b"LYRICS200" and content[end - 15 : end - 9].isdigit():
            end -= min(int(content[end - 15 : end - 9]) + 15, end)
        else:
            return end
