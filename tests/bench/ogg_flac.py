"""FLAC files and whatever an Ogg file can hold: one stream, chained ones, sound beside pictures."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.case import Case
from bench.mp3 import ID3V1, LOSSY, ape, id3
from bench.workshop import COVER, SECONDS, Workshop


def pages(content: bytes) -> list[tuple[int, int]]:
    """(first byte, the one behind the last) of each page."""
    found, place = [], 0
    while content[place : place + 4] == b"OggS":
        lacing = content[place + 27 : place + 27 + content[place + 26]]
        end = place + 27 + len(lacing) + sum(lacing)
        found.append((place, end))
        place = end
    return found


def without_last_mark(content: bytes) -> bytes:
    """The same stream, its last page not marked as such; only libogg checks the checksum, which then needs
    the right one."""
    begin, end = pages(content)[-1]
    page = bytearray(content[begin:end])
    page[5] &= ~4
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", checksum(bytes(page)))
    return content[:begin] + bytes(page)


def renumbered(content: bytes, serial: int) -> bytes:
    """The same stream under another serial number."""
    out = b""
    for begin, end in pages(content):
        page = bytearray(content[begin:end])
        page[14:18] = struct.pack("<I", serial)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", checksum(bytes(page)))
        out += bytes(page)
    return out


_TABLE = []
for _byte in range(256):
    _value = _byte << 24
    for _ in range(8):
        _value = (_value << 1) ^ (0x04C11DB7 if _value & 0x80000000 else 0)
    _TABLE.append(_value & 0xFFFFFFFF)


def checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value


def parts(*makers, exact: bool = False) -> object:
    """The truth of a chain: that of each link, one behind the other, each as long as what was encoded if exact."""

    def truth(path: Path) -> tuple[int, np.ndarray] | None:
        from bench.oracle import ffmpeg

        workshop = Workshop(path.parent / "links")
        found = []
        for number, make in enumerate(makers):
            link = path.with_name(f"link{number}{path.suffix}")
            link.write_bytes(make(workshop))
            rate, samples_FC = ffmpeg(link)  # type: ignore[misc]
            # A link of 1.1 s or half a second.
            ends = round((SECONDS if len(samples_FC) > 0.8 * rate else 0.5) * rate) if exact else None
            found.append((rate, samples_FC[:ends]))
            link.unlink()
        return found[0][0], np.concatenate([samples for _, samples in found])

    return truth


def _flac() -> Iterator[Case]:
    for subtype in ("PCM_S8", "PCM_16", "PCM_24"):
        for channels in (1, 2, 6, 8):
            yield Case(
                "FLAC",
                f"{subtype}-{channels}.flac",
                lambda w, s=subtype, c=channels: w.sndfile("flac", 22_050, c, subtype=s),
            )
    for level in range(9):
        yield Case("FLAC", f"level-{level}.flac", lambda w, l=level: w.tool("flac", f"-s -f -{l} -o OUT IN", "flac"))
    for rate in (8_000, 11_025, 16_000, 22_051, 48_000, 96_000, 192_000):
        yield Case("FLAC", f"rate-{rate}.flac", lambda w, r=rate: w.sndfile("flac", r, 1, 0.4, subtype="PCM_16"))
    yield Case(
        "FLAC",
        "32-bit.flac",
        lambda w: w.ffmpeg("flac", "-c:a flac -sample_fmt s32", w.source(44_100, 2, subtype="PCM_24")),
    )
    yield Case("FLAC", "from-a-pipe.flac", lambda w: w.piped("flac"))
    yield Case("FLAC", "from-a-pipe-by-flac.flac", lambda w: w.tool("flac", "-s -c IN", "flac"))
    yield Case("FLAC", "long-from-a-pipe.flac", lambda w: w.piped("flac", source=w.source(16_000, 1, 40.0)))
    yield Case("FLAC", "id3-in-front.flac", lambda w: id3(4_000) + w.sndfile("flac", 16_000, 1, subtype="PCM_16"))
    yield Case("FLAC", "id3-in-front-from-a-pipe.flac", lambda w: id3(4_000) + w.piped("flac"))
    yield Case("FLAC", "two-tags.flac", lambda w: 2 * id3(400) + w.sndfile("flac", 16_000, 1, subtype="PCM_16"))
    yield Case("FLAC", "id3v1-behind.flac", lambda w: w.sndfile("flac", 16_000, 1, subtype="PCM_16") + ID3V1)
    yield Case("FLAC", "ape-behind.flac", lambda w: w.sndfile("flac", 16_000, 1, subtype="PCM_16") + ape())
    yield Case("FLAC", "id3v1-behind-from-a-pipe.flac", lambda w: w.piped("flac") + ID3V1)
    yield Case("FLAC", "seektable.flac", lambda w: w.tool("flac", "-s -f -S 10x -o OUT IN", "flac"))
    yield Case(
        "FLAC", "no-seektable.flac", lambda w: w.tool("flac", "-s -f --no-seektable --no-padding -o OUT IN", "flac")
    )
    yield Case(
        "FLAC", "blocksize-16.flac", lambda w: w.tool("flac", "-s -f -b 16 -o OUT IN", "flac", w.source(8_000, 1, 0.2))
    )
    yield Case("FLAC", "blocksize-4608.flac", lambda w: w.tool("flac", "-s -f -b 4608 -o OUT IN", "flac"))
    yield Case(
        "FLAC",
        "cover.flac",
        lambda w: w.ffmpeg(
            "flac",
            f"{COVER} -c:a flac",
        ),
    )
    yield Case("FLAC", "sox.flac", lambda w: w.sox("flac"))
    for samples in (1, 20, 4_096, 4_097):
        yield Case(
            "FLAC",
            f"samples-{samples}.flac",
            lambda w, n=samples: w.sndfile("flac", 16_000, 1, n / 16_000, subtype="PCM_16"),
        )
    for cut in (1, 3, 50, 5_000):
        yield Case(
            "FLAC",
            f"cut-{cut}.flac",
            lambda w, c=cut: w.sndfile("flac", 16_000, 1, subtype="PCM_16")[:-c],
            refused="truncated",
        )
        yield Case("FLAC", f"cut-{cut}-from-a-pipe.flac", lambda w, c=cut: w.piped("flac")[:-c], refused="truncated")
    yield Case("FLAC", "miscounted.flac", lambda w: _counting(w, 0.5), refused="more sound follows")
    yield Case("FLAC", "twice.flac", lambda w: 2 * w.sndfile("flac", 16_000, 1, subtype="PCM_16"), refused="second")
    yield Case(
        "FLAC",
        "another-behind.flac",
        lambda w: w.sndfile("flac", 16_000, 1, subtype="PCM_16") + w.sndfile("flac", 16_000, 1, 3.0, subtype="PCM_16"),
        refused="second",
    )
    yield Case(
        "FLAC",
        "twice-from-a-pipe.flac",
        lambda w: 2 * w.piped("flac"),
        truth=parts(lambda w: w.piped("flac"), lambda w: w.piped("flac")),
        why="ffmpeg loses frames where the second begins",
    )
    yield Case(
        "FLAC",
        "header-alone.flac",
        lambda w: w.sndfile("flac", 16_000, 1, subtype="PCM_16")[:42],
        refused="truncated",
        sound=False,
    )
    yield Case(
        "FLAC",
        "empty-stream.flac",
        lambda w: w.sndfile("flac", 16_000, 1, subtype="PCM_16")[:26] + bytes(16),
        refused="truncated",
        sound=False,
    )


def _counting(w: Workshop, share: float) -> bytes:
    """A FLAC file whose header counts a share of its samples."""
    content = bytearray(w.sndfile("flac", 16_000, 1, 2.0, subtype="PCM_16"))
    total = int.from_bytes(content[21:26], "big") & (1 << 36) - 1
    content[22:26] = int(total * share).to_bytes(4, "big")
    return bytes(content)


LAST_PAGE = "ffmpeg plays the last page of a short stream to its end, beyond the position that it states"


def _clipped(path: Path, count: int) -> tuple[int, np.ndarray]:
    from bench.oracle import ffmpeg

    rate, samples_FC = ffmpeg(path)  # type: ignore[misc]
    return rate, samples_FC[:count]


VORBIS, OPUS, SPEEX = "-c:a libvorbis", "-c:a libopus", "-c:a libspeex -ar 16000 -ac 1"


def _ogg() -> Iterator[Case]:
    for rate, channels in (
        (8_000, 1),
        (16_000, 1),
        (22_050, 2),
        (44_100, 1),
        (44_100, 2),
        (48_000, 6),
        (48_000, 8),
        (96_000, 2),
    ):
        yield Case(
            "Ogg Vorbis",
            f"vorbis-{rate}-{channels}.ogg",
            lambda w, r=rate, c=channels: w.ffmpeg("ogg", VORBIS, w.source(r, c)),
            window_tolerance=LOSSY,
        )
        yield Case(
            "Ogg Opus",
            f"opus-{rate}-{channels}.opus",
            lambda w, r=rate, c=channels: w.ffmpeg("opus", OPUS, w.source(r, c)),
            window_tolerance=LOSSY,
        )
    for quality in (-1, 3, 10):
        yield Case(
            "Ogg Vorbis",
            f"oggenc-{quality}.ogg",
            lambda w, q=quality: w.tool("oggenc", f"-Q -q {q} -o OUT IN", "ogg"),
            window_tolerance=LOSSY,
        )
    for options in (
        "--bitrate 12",
        "--bitrate 64 --framesize 60",
        "--framesize 2.5",
        "--speech --bitrate 24",
        "--hard-cbr --bitrate 96",
    ):
        yield Case(
            "Ogg Opus",
            f"opusenc{options.replace(' ', '')}.opus",
            lambda w, o=options: w.tool("opusenc", f"--quiet {o} IN OUT", "opus"),
            window_tolerance=LOSSY,
        )
    yield Case("Ogg Opus", "opus-named.ogg", lambda w: w.ffmpeg("opus", OPUS), window_tolerance=LOSSY)
    yield Case(
        "Ogg Vorbis", "sndfile.ogg", lambda w: w.sndfile("ogg", 22_051, 2, subtype="VORBIS"), window_tolerance=LOSSY
    )
    yield Case(
        "Ogg Opus", "sndfile.opus", lambda w: w.sndfile("ogg", 24_000, 1, subtype="OPUS"), window_tolerance=LOSSY
    )
    yield Case("Ogg Vorbis", "sox.ogg", lambda w: w.sox("ogg"), window_tolerance=LOSSY)
    for name, options in (
        ("speex-8", "-c:a libspeex -ar 8000 -ac 1"),
        ("speex-16", SPEEX),
        ("speex-32", "-c:a libspeex -ar 32000 -ac 2"),
        ("speex-16-six", SPEEX + " -frames_per_packet 6"),
    ):
        for extension in ("spx", "ogg"):
            yield Case(
                "Ogg Speex",
                f"{name}.{extension}",
                lambda w, o=options: w.ffmpeg("spx", o),
                window_tolerance=None,
                longer=(320,) if name.endswith("six") else (0,),
                why="ffmpeg 5 loses a packet's last frame; Speex carries state along",
            )
    for options, name in (
        ("-c:a flac", "s16"),
        ("-c:a flac -sample_fmt s32", "s32"),
        ("-c:a flac -ac 1 -ar 8000", "mono"),
    ):
        yield Case("FLAC in Ogg", f"{name}.oga", lambda w, o=options: w.ffmpeg("ogg", o))
    yield Case("FLAC in Ogg", "by-flac.oga", lambda w: w.tool("flac", "-s -f --ogg -o OUT IN", "oga"))
    yield Case("FLAC in Ogg", "by-flac.ogg", lambda w: w.tool("flac", "-s -f --ogg -o OUT IN", "oga"))
    yield Case(
        "FLAC in Ogg", "cut.oga", lambda w: (c := w.ffmpeg("ogg", "-c:a flac"))[: len(c) // 2], refused="truncated"
    )
    yield Case("Ogg Vorbis", "piped.ogg", lambda w: w.piped("ogg", VORBIS), window_tolerance=LOSSY)
    yield Case(
        "Ogg Vorbis", "long.ogg", lambda w: w.ffmpeg("ogg", VORBIS, w.source(16_000, 1, 60.0)), window_tolerance=LOSSY
    )
    yield Case(
        "Ogg Opus", "long.opus", lambda w: w.ffmpeg("opus", OPUS, w.source(16_000, 1, 60.0)), window_tolerance=LOSSY
    )
    for seconds in (0.001, 0.01, 0.1):
        yield Case(
            "Ogg Vorbis",
            f"seconds-{seconds}.ogg",
            lambda w, s=seconds: w.ffmpeg("ogg", VORBIS, w.source(16_000, 1, s)),
            window_tolerance=LOSSY,
            truth=lambda path, s=seconds: _clipped(path, round(s * 16_000)),
            why=LAST_PAGE,
        )
        yield Case(
            "Ogg Opus",
            f"seconds-{seconds}.opus",
            lambda w, s=seconds: w.ffmpeg("opus", OPUS, w.source(16_000, 1, s)),
            window_tolerance=LOSSY,
        )
    for kind, options in (("vorbis", VORBIS), ("opus", OPUS), ("speex", SPEEX), ("flac", "-c:a flac")):
        family = "FLAC in Ogg" if kind == "flac" else f"Ogg {kind.title()}"
        one = lambda w, o=options: w.ffmpeg("ogg", o)
        other = lambda w, o=options: renumbered(w.ffmpeg("ogg", o, w.source(44_100, 2, 0.5)), 77)
        tolerance = None if kind == "speex" else LOSSY
        yield Case(
            family, f"{kind}-twice.ogg", lambda w, o=one: 2 * o(w), truth=parts(one, one), window_tolerance=tolerance
        )
        yield Case(
            family,
            f"{kind}-chained.ogg",
            lambda w, a=one, b=other: a(w) + b(w),
            truth=parts(one, other, exact=kind == "vorbis"),
            window_tolerance=tolerance,
        )
        yield Case(
            family,
            f"{kind}-chained-three.ogg",
            lambda w, a=one, b=other: b(w) + a(w) + b(w),
            truth=parts(other, one, other, exact=kind == "vorbis"),
            window_tolerance=tolerance,
        )
        mono = lambda w, o=options: renumbered(w.ffmpeg("ogg", o, w.source(44_100, 1, 0.5)), 78)
        if kind != "speex":
            yield Case(family, f"{kind}-chained-mono.ogg", lambda w, a=one, b=mono: a(w) + b(w), refused="different")
        if kind in ("vorbis", "flac"):
            slow = lambda w, o=options: renumbered(w.ffmpeg("ogg", o, w.source(22_050, 2, 0.5)), 79)
            yield Case(family, f"{kind}-chained-rate.ogg", lambda w, a=one, b=slow: a(w) + b(w), refused="different")
        yield Case(family, f"{kind}-no-last-mark.ogg", lambda w, o=one: without_last_mark(o(w)), refused="last")
        yield Case(
            family, f"{kind}-first-link-cut.ogg", lambda w, a=one, b=other: _cut_page(a(w)) + b(w), refused="truncated"
        )
        yield Case(family, f"{kind}-id3v1-behind.ogg", lambda w, o=one: o(w) + ID3V1, window_tolerance=tolerance)
        yield Case(family, f"{kind}-id3v2-in-front.ogg", lambda w, o=one: id3(500) + o(w), window_tolerance=tolerance)
        yield Case(
            family,
            f"{kind}-page-missing.ogg",
            lambda w, o=options: _hole(w.ffmpeg("ogg", o + " -page_duration 100000")),
            refused="missing",
        )
        for share in (0.2, 0.9, 0.99):
            yield Case(
                family,
                f"{kind}-cut-{share}.ogg",
                lambda w, o=one, s=share: (c := o(w))[: round(s * len(c))],
                refused="truncated",
                sound=kind != "vorbis" or share == 0.99,
                why="its only page of sound is cut, of which ffmpeg decodes nothing either",
            )
        yield Case(family, f"{kind}-cut-1-byte.ogg", lambda w, o=one: o(w)[:-1], refused="truncated")
    yield Case(
        "Ogg Vorbis",
        "vorbis-then-opus.ogg",
        lambda w: (
            w.ffmpeg("ogg", VORBIS, w.source(48_000, 2)) + renumbered(w.ffmpeg("ogg", OPUS, w.source(48_000, 2)), 5)
        ),
        truth=parts(
            lambda w: w.ffmpeg("ogg", VORBIS, w.source(48_000, 2)), lambda w: w.ffmpeg("ogg", OPUS, w.source(48_000, 2))
        ),
        window_tolerance=LOSSY,
    )
    yield Case(
        "Ogg Vorbis",
        "theora.ogv",
        lambda w: w.ffmpeg("ogv", "-f lavfi -i testsrc=s=64x64:d=1 -map 0:a -map 1:v -c:v libtheora -c:a libvorbis"),
        window_tolerance=LOSSY,
    )
    yield Case(
        "Ogg Vorbis",
        "theora-alone.ogv",
        lambda w: w.ffmpeg("ogv", "-f lavfi -i testsrc=s=64x64:d=1 -map 1:v -c:v libtheora"),
        refused="no sound",
        sound=False,
    )
    yield Case(
        "Ogg Vorbis",
        "granule-offset.ogg",
        lambda w: w.ffmpeg("ogg", VORBIS + " -output_ts_offset 5"),
        window_tolerance=LOSSY,
    )
    yield Case(
        "Ogg Vorbis",
        "headers-alone.ogg",
        lambda w: (c := w.ffmpeg("ogg", VORBIS))[: pages(c)[1][1]],
        refused="truncated",
        sound=False,
    )


def _cut_page(content: bytes) -> bytes:
    return content[: pages(content)[-2][1]] if len(pages(content)) > 3 else content[:-7]


def _hole(content: bytes) -> bytes:
    """Without a page in the middle."""
    begin, end = pages(content)[len(pages(content)) // 2]
    return content[:begin] + content[end:]


def cases() -> Iterator[Case]:
    yield from _flac()
    yield from _ogg()
