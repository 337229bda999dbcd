"""Spoilt copies of sound files of every kind: flipped bits, cuts, false headers, zeros, pieces of other files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from bench.containers import amr
from bench.mp3 import bare, id3
from bench.workshop import Unavailable, Workshop

SHORT = 0.4  # seconds of each file
_SNDFILE = (
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "FLOAT"),
    ("wav", "ULAW"),
    ("wav", "IMA_ADPCM"),
    ("wav", "MS_ADPCM"),
    ("aiff", "PCM_16"),
    ("au", "PCM_16"),
    ("caf", "PCM_16"),
    ("caf", "ALAC_16"),
    ("w64", "PCM_16"),
    ("rf64", "PCM_16"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
    ("ogg", "VORBIS"),
    ("ogg", "OPUS"),
    ("mp3", "MPEG_LAYER_III"),
)
_FFMPEG = (
    ("wav", "-c:a libmp3lame"),
    ("wav", "-c:a g726 -ar 8000 -ac 1 -b:a 32k"),
    ("wav", "-c:a libgsm_ms -ar 8000 -ac 1"),
    ("wav", "-c:a ac3"),
    ("mp3", "-c:a libmp3lame"),
    ("mp3", "-c:a libmp3lame -q:a 5 -write_xing 0"),
    ("mp2", "-c:a mp2"),
    ("flac", "-c:a flac"),
    ("ogg", "-c:a libvorbis"),
    ("opus", "-c:a libopus"),
    ("spx", "-c:a libspeex -ar 16000 -ac 1"),
    ("oga", "-c:a flac"),
    ("m4a", "-c:a aac"),
    ("m4a", "-c:a alac"),
    ("mp4", "-c:a aac -movflags frag_keyframe+empty_moov"),
    ("mp4", "-c:a libopus"),
    ("mov", "-c:a pcm_s16le"),
    ("webm", "-c:a libopus"),
    ("webm", "-c:a libvorbis"),
    ("mka", "-c:a flac"),
    ("mka", "-c:a aac"),
    ("mka", "-c:a pcm_s16le"),
    ("aac", "-c:a aac"),
    ("wma", "-c:a wmav2"),
    ("ac3", "-c:a ac3"),
    ("eac3", "-c:a eac3"),
    ("dts", "-strict -2 -c:a dca"),
    ("wv", "-c:a wavpack"),
    ("tta", "-c:a tta"),
    ("avi", "-c:a libmp3lame"),
    ("flv", "-c:a aac"),
    ("mts", "-f mpegts -c:a aac"),
    ("mpg", "-c:a mp2"),
    ("voc", ""),
)


def whole_files(workshop: Workshop) -> list[tuple[str, bytes]]:
    """(extension, content) of a sound file of every kind that can be written here."""
    found = [(e, workshop.sndfile(e, 16_000, 1, SHORT, subtype=s)) for e, s in _SNDFILE]
    found.append(("amr", amr(workshop, SHORT)))
    found.append(("mp3", id3(3_000) + bare(workshop.sndfile("mp3", 16_000, 1, SHORT))))
    for extension, options in _FFMPEG:
        try:
            found.append((extension, workshop.ffmpeg(extension, options, workshop.source(44_100, 2, SHORT))))
        except Unavailable:
            continue
    with contextlib.suppress(Unavailable):
        found.append(("sph", workshop.sox("sph", "-c 1", workshop.source(44_100, 2, SHORT))))
    return found


def _flipped(content: bytearray, random: np.random.Generator, reach: int) -> bytearray:
    for place in random.integers(0, min(reach, len(content)), random.integers(1, 20)):
        content[place] ^= 1 << int(random.integers(8))
    return content


def _lying(content: bytearray, random: np.random.Generator) -> bytearray:
    """A number in the header is replaced: by zero, all ones, too large or too small a value."""
    for _ in range(random.integers(1, 4)):
        width = int(random.choice([1, 2, 4, 8]))
        place = int(random.integers(0, min(200, max(1, len(content) - width))))
        new = [
            b"\0" * width,
            b"\xff" * width,
            b"\x7f" + b"\xff" * (width - 1),
            bytes(random.integers(0, 256, width, dtype=np.uint8)),
        ]
        content[place : place + width] = new[int(random.integers(len(new)))]
    return content


def _zeroed(content: bytearray, random: np.random.Generator) -> bytearray:
    begin = int(random.integers(len(content)))
    count = int(random.integers(1, 2_000))
    content[begin : begin + count] = bytes(len(content[begin : begin + count]))
    return content


def _spliced(content: bytearray, random: np.random.Generator, other: bytes) -> bytearray:
    a, b = int(random.integers(len(content))), int(random.integers(len(other)))
    return content[:a] + other[b : b + 5_000] + content[a + int(random.integers(0, 3_000)) :]


def _cut_out(content: bytearray, random: np.random.Generator) -> bytearray:
    begin = int(random.integers(len(content)))
    return content[:begin] + content[begin + int(random.integers(1, 3_000)) :]


def _spoilt(way: int, content: bytearray, random: np.random.Generator, other: bytes) -> bytes:
    match way % 7:
        case 0:
            return bytes(_flipped(content, random, len(content)))
        case 1:
            return bytes(_flipped(content, random, 300))
        case 2:
            return bytes(content[: int(random.integers(1, len(content)))])
        case 3:
            return bytes(_lying(content, random))
        case 4:
            return bytes(_zeroed(content, random))
        case 5:
            return bytes(_spliced(content, random, other))
    return bytes(_cut_out(content, random))


def mutations(workshop: Workshop, folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write so many spoilt files into the folder, always the same ones."""
    originals = whole_files(workshop)
    paths = []
    for number in range(count):
        random = np.random.default_rng((seed, number))
        extension, content = originals[number % len(originals)]
        other = originals[int(random.integers(len(originals)))][1]
        spoilt = _spoilt(number // len(originals), bytearray(content), random, other)
        path = folder / f"{number:05}.{extension}"
        path.write_bytes(spoilt)
        paths.append(path)
    return paths
