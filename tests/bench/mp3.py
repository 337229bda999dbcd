"""MP3 files as encoders, taggers, downloads, splitters and broadcasts leave them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from aasp.audio.mpeg import frame_bytes
from bench.case import Case
from bench.uncompressed import patched
from bench.workshop import COVER

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
BANDS = "ffmpeg 5 has a mistake in its bands at 24 kHz; mpg123 and ffmpeg 8 agree to 1e-6"
LAYER2 = "ffmpeg by itself decodes layer II to 16 bits"
LOSSY = 5e-3  # what a decoder that starts within a stream may differ by


def synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


def id3(size: int, version: int = 3, flags: int = 0, noise: bool = True) -> bytes:
    """An ID3v2 tag with a picture of so many bytes, among them what looks like frames."""
    picture = (
        np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).tobytes()
        if noise
        else b"\xff\xfb\x90\0" * (size // 4)
    )
    if version == 2:
        frame = b"PIC" + (len(picture) + 6).to_bytes(3, "big") + b"\0PNG\3\0" + picture
    else:
        body = b"\0image/png\0\3\0" + picture
        frame = b"APIC" + (synchsafe(len(body)) if version == 4 else struct.pack(">I", len(body))) + b"\0\0" + body
    tag = b"ID3" + bytes([version, 0, flags]) + synchsafe(len(frame)) + frame
    return tag + (b"3DI" + tag[3:10] if flags & 0x10 else b"")


ID3V1 = b"TAG" + b"owls".ljust(125, b"\0")
ID3V1_EXTENDED = b"TAG+" + b"owls".ljust(223, b"\0")


def ape(header: bool = True, items: int = 1) -> bytes:
    body = b"".join(struct.pack("<II", 4, 0) + b"Title\0owls" for _ in range(items))
    size = len(body) + 32
    foot = struct.pack("<IIII", 2000, size, items, (1 << 31) * header) + bytes(8)
    head = struct.pack("<IIII", 2000, size, items, (1 << 31) + (1 << 29)) + bytes(8)
    return (b"APETAGEX" + head if header else b"") + body + b"APETAGEX" + foot


def lyrics() -> bytes:
    body = b"LYRICSBEGININD0000210LYR00010[00:01]owl"
    return body + f"{len(body):06}".encode() + b"LYRICS200"


def bare(content: bytes) -> bytes:
    """The frames alone: without the tag in front and without the Xing or Info frame, as streaming encoders write."""
    begin = content.index(b"\xff", 10 + int.from_bytes(content[6:10], "big") if content.startswith(b"ID3") else 0)
    length = frame_bytes(content[begin : begin + 4])
    if b"Xing" in content[begin : begin + length] or b"Info" in content[begin : begin + length]:
        begin += length
    return content[begin:]


def noise(count: int, seed: int = 1) -> bytes:
    """Bytes among which no two frames stand."""
    return np.random.default_rng(seed).integers(0, 255, count, dtype=np.uint8).tobytes()


def with_vbri(content: bytes, frames: int) -> bytes:
    """The same frames behind a VBRI header, as Fraunhofer's encoder writes."""
    head = content[:4]
    length = frame_bytes(head)
    vbri = b"VBRI" + struct.pack(">HHHIIHHHH", 1, 576, 75, len(content) + length, frames, 1, 1, 2, 10)
    return (head + bytes(32) + vbri).ljust(length, b"\0") + content


def frames_of(content: bytes) -> list[int]:
    places, place = [], 0
    while place + 4 <= len(content) and (length := frame_bytes(content[place : place + 4])) > 0:
        if place + length > len(content):
            break
        places.append(place)
        place += length
    return places


def _case(name: str, make, **more) -> Case:
    more.setdefault("window_tolerance", LOSSY)
    if any(word in name for word in ("24000", "cbr-64", "vbr-8", "vbr-9", "abr-60")):
        # libsndfile guesses the length of those that don't state it.
        known = not name.endswith(("bare", "-t"))
        more.update(truth=mpg123 if known else None, tolerance=1e-5 if known else None, why=BANDS)
    return Case("MP3", f"{name}.mp3", make, **more)


def mpg123(path: Path) -> tuple[int, np.ndarray]:
    """What libsndfile's decoder makes of it, without what the encoder added where a tag states how much that is."""
    wave_FC, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return rate, wave_FC


def without(*parts: bytes, first: int = 0):
    """The truth of a file with something in it that ffmpeg stumbles over: that of the file without it."""

    def truth(path: Path) -> tuple[int, np.ndarray] | None:
        from bench.oracle import ffmpeg

        clean = path.with_name("clean.mp3")
        content = path.read_bytes()[first:]
        for part in parts:
            content = content.replace(part, b"")
        clean.write_bytes(content)
        return ffmpeg(clean)

    return truth


def _encoders() -> Iterator[Case]:
    for rate in MP3_RATES:
        for channels in (1, 2):
            yield _case(f"lame-{rate}-{channels}", lambda w, r=rate, c=channels: w.lame(source=w.source(r, c)))
        yield _case(f"lame-{rate}-vbr-bare", lambda w, r=rate: bare(w.lame("-V 5", w.source(r, 2))))
        yield _case(f"ffmpeg-{rate}", lambda w, r=rate: w.ffmpeg("mp3", "-c:a libmp3lame", w.source(r, 2)))
    for kbps in (32, 64, 128, 192, 320):
        yield _case(f"cbr-{kbps}", lambda w, k=kbps: w.lame(f"--cbr -b {k}"))
        yield _case(f"cbr-{kbps}-bare", lambda w, k=kbps: bare(w.lame(f"--cbr -b {k}")))
        yield _case(f"cbr-{kbps}-t", lambda w, k=kbps: w.lame(f"--cbr -t -b {k}"))
    for quality in range(10):
        yield _case(f"vbr-{quality}", lambda w, q=quality: w.lame(f"-V {q}"))
        yield _case(f"vbr-{quality}-t", lambda w, q=quality: w.lame(f"-V {q} -t"))
    for kbps in (60, 130):
        yield _case(f"abr-{kbps}", lambda w, k=kbps: w.lame(f"--abr {k}"))
        yield _case(f"abr-{kbps}-bare", lambda w, k=kbps: bare(w.lame(f"--abr {k}")))
    for mode in ("s", "j", "f", "d", "m"):
        yield _case(f"mode-{mode}", lambda w, m=mode: w.lame(f"-m {m}"))
        yield _case(f"mode-{mode}-bare", lambda w, m=mode: bare(w.lame(f"-m {m} -V 4")))
    yield _case("crc", lambda w: w.lame("-p"))
    yield _case("crc-bare", lambda w: bare(w.lame("-p -V 4")))
    yield _case("no-reservoir", lambda w: w.lame("--nores"))
    yield _case("long", lambda w: w.lame("-V 5", w.source(16_000, 1, 60.0)))
    yield _case("long-bare", lambda w: bare(w.lame("-V 5", w.source(16_000, 1, 60.0))))
    for seconds in (0.001, 0.01, 0.03, 0.1):
        yield _case(f"seconds-{seconds}", lambda w, s=seconds: w.lame(source=w.source(44_100, 1, s)))
        yield _case(f"seconds-{seconds}-bare", lambda w, s=seconds: bare(w.lame(source=w.source(44_100, 1, s))))
    for kbps in (330, 400):
        yield _case(f"free-format-{kbps}", lambda w, k=kbps: w.lame(f"--freeformat -b {k}"), refused="free-format")
    yield _case("libsndfile-vbr", lambda w: w.sndfile("mp3", 44_100, 2, bitrate_mode="VARIABLE"))
    yield _case("libsndfile-constant-bare", lambda w: bare(w.sndfile("mp3", 44_100, 2, bitrate_mode="CONSTANT")))
    yield _case("no-xing", lambda w: w.ffmpeg("mp3", "-c:a libmp3lame -write_xing 0"))
    yield _case("no-xing-quality", lambda w: w.ffmpeg("mp3", "-c:a libmp3lame -q:a 4 -write_xing 0"))
    for name, options in (
        ("layer2", "-c:a mp2"),
        ("layer2-mono", "-c:a mp2 -ac 1 -b:a 64k"),
        ("layer2-16k", "-c:a mp2 -ar 16000"),
        ("twolame", "-c:a libtwolame"),
    ):
        yield Case(
            "MP3",
            f"{name}.mp2",
            lambda w, o=options: w.ffmpeg("mp2", o),
            window_tolerance=LOSSY,
            tolerance=4e-5,
            why=LAYER2,
        )
        yield Case(
            "MP3",
            f"{name}-named.mp3",
            lambda w, o=options: w.ffmpeg("mp2", o),
            window_tolerance=LOSSY,
            tolerance=4e-5,
            why=LAYER2,
        )


def _tags() -> Iterator[Case]:
    for vbr in ("-V 5", "--cbr -b 128"):
        kind = vbr.strip("-").replace(" ", "")
        for version in (2, 3, 4):
            for size in (100, 4_000, 300_000):
                yield _case(
                    f"id3-2.{version}-{size}-{kind}", lambda w, v=version, s=size, o=vbr: id3(s, v) + bare(w.lame(o))
                )
            yield _case(
                f"id3-2.{version}-false-syncs-{kind}",
                lambda w, v=version, o=vbr: id3(50_000, v, noise=False) + bare(w.lame(o)),
            )
        yield _case(f"id3-footer-{kind}", lambda w, o=vbr: id3(3_000, 4, 0x10) + bare(w.lame(o)))
        yield _case(f"id3-unsynchronised-{kind}", lambda w, o=vbr: id3(3_000, 3, 0x80) + w.lame(o))
        yield _case(f"id3-padding-{kind}", lambda w, o=vbr: b"ID3\3\0\0" + synchsafe(5_000) + bytes(5_000) + w.lame(o))
        yield _case(f"id3-twice-{kind}", lambda w, o=vbr: id3(500) + id3(700, 4) + w.lame(o))
        behind = {
            "id3v1": ID3V1,
            "id3v1-extended": ID3V1_EXTENDED + ID3V1,
            "ape": ape(),
            "ape-no-header": ape(False),
            "ape-and-id3v1": ape() + ID3V1,
            "lyrics3": lyrics() + ID3V1,
            "lyrics3-and-ape": ape() + lyrics() + ID3V1,
            "id3v2-behind": id3(900, 4, 0x10),
            "zeros": bytes(700),
            "many-zeros": bytes(9_000),
            "twice-id3v1": ID3V1 + ID3V1,
        }
        for name, tag in behind.items():
            yield _case(
                f"{name}-{kind}",
                lambda w, t=tag, o=vbr: w.lame(o) + t,
                truth=without(bytes(9_000)) if name == "many-zeros" else None,
            )
            yield _case(f"{name}-{kind}-bare", lambda w, t=tag, o=vbr: bare(w.lame(o)) + t)
    yield _case("ape-in-front", lambda w: ape() + bare(w.lame("-V 5")))
    yield _case(
        "ffmpeg-cover",
        lambda w: w.ffmpeg(
            "mp3",
            f"{COVER} -c:a libmp3lame",
        ),
    )
    yield _case(
        "tag-of-wrong-size",
        lambda w: b"ID3\3\0\0" + synchsafe(2_000_000) + bytes(100) + bare(w.lame("-V 5")),
        truth=without(first=110),
    )
    yield _case("tag-of-short-size", lambda w: b"ID3\3\0\0" + synchsafe(10) + bytes(1_000) + bare(w.lame("-V 5")))


def _garbage() -> Iterator[Case]:
    for size in (1, 417, 5_000, 60_000):
        yield _case(f"garbage-{size}", lambda w, s=size: noise(s) + bare(w.lame("-V 5")))
        yield _case(f"garbage-{size}-xing", lambda w, s=size: noise(s) + w.lame("-V 5"), truth=without(first=size))
    yield _case("garbage-2000000", lambda w: noise(2_000_000) + bare(w.lame("-V 5")), truth=without(first=2_000_000))
    yield _case("zeros-in-front", lambda w: bytes(10_000) + w.lame("-V 5"), truth=without(first=10_000))
    yield _case("html-in-front", lambda w: b"HTTP/1.0 200 OK\r\nicy-name: owls\r\n\r\n" + bare(w.lame("--cbr -b 128")))
    yield _case("half-a-frame-in-front", lambda w: (b := bare(w.lame("--cbr -b 128")))[frames_of(b)[5] - 200 :])
    yield _case("cut-at-a-frame-in-front", lambda w: (b := bare(w.lame("-V 5")))[frames_of(b)[7] :])
    yield _case(
        "damage-inside",
        lambda w: (b := bare(w.lame("-V 5"))) and b[: frames_of(b)[9]] + noise(9_000) + b[frames_of(b)[9] :],
        refused="damaged",
    )
    yield _case(
        "padding-inside",
        lambda w: (b := bare(w.lame("-V 5"))) and b[: frames_of(b)[9]] + bytes(5_000) + b[frames_of(b)[9] :],
    )
    yield _case(
        "tag-inside",
        lambda w: (b := bare(w.lame("-V 5"))) and b[: frames_of(b)[9]] + id3(4_000) + b[frames_of(b)[9] :],
        truth=without(id3(4_000)),
    )
    yield _case("twice", lambda w: 2 * bare(w.lame("-V 5")))
    yield _case("twice-xing", lambda w: 2 * w.lame("-V 5"))
    yield _case("twice-tags", lambda w: 2 * (id3(500) + bare(w.lame("-V 5")) + ID3V1), truth=without(id3(500), ID3V1))
    yield _case(
        "other-rate-behind",
        lambda w: bare(w.lame("-V 5")) + bare(w.lame("-V 5", w.source(22_050, 2))),
        refused="change",
    )
    yield _case(
        "mono-behind", lambda w: bare(w.lame("-V 5")) + bare(w.lame("-V 5", w.source(44_100, 1))), refused="change"
    )
    yield _case("vbri", lambda w: (b := bare(w.lame("-V 5"))) and with_vbri(b, len(frames_of(b))))
    yield _case(
        "vbri-cut", lambda w: (b := bare(w.lame("-V 5"))) and with_vbri(b, len(frames_of(b)) + 9), refused="truncated"
    )
    yield _case(
        "xing-counts-itself",
        lambda w: _miscounted(w.lame("-V 5"), 1),
        longer=(-1073,),
        why="ffmpeg then leaves the padding at the end",
    )
    yield _case("xing-0", lambda w: _miscounted(w.lame("-V 5"), None))
    for share in (0.3, 0.9, 0.99):
        yield _case(f"cut-{share}", lambda w, s=share: (c := w.lame("-V 5"))[: round(s * len(c))], refused="truncated")
        yield _case(
            f"cut-{share}-bare",
            lambda w, s=share: (c := bare(w.lame("-V 5")))[: round(s * len(c))],
            refused="truncated",
        )
    yield _case("cut-1-byte", lambda w: w.lame("-V 5")[:-1], refused="truncated")
    yield _case("cut-1-byte-bare", lambda w: bare(w.lame("-V 5"))[:-1], refused="truncated")
    yield _case("cut-1-frame", lambda w: (c := w.lame("-V 5"))[: len(c) - _last_frame(c)], refused="truncated")
    yield _case("tag-alone", lambda w: id3(3_000), refused="not audio", sound=False)


def _last_frame(content: bytes) -> int:
    frames = bare(content)
    return len(frames) - frames_of(frames)[-1]


def _miscounted(content: bytes, more: int | None) -> bytes:
    place = content.index(b"Xing") + 8
    count = int.from_bytes(content[place : place + 4], "big") + more if more is not None else 0
    return patched(content, (place, count.to_bytes(4, "big")))


def cases() -> Iterator[Case]:
    for make in (_encoders, _tags, _garbage):
        yield from make()
