"""WAV, RF64, W64, AIFF, AU, CAF, VOC and NIST SPHERE files, whole and in every way their headers can be wrong."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from bench.case import Case
from bench.workshop import SECONDS, Workshop, wave

RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
IMA = "ffmpeg before 7 rounded IMA ADPCM in a way of its own; libsndfile and ffmpeg 8 do as the standard has it"
ODD_RATES = (7_350, 11_127, 22_051, 44_056, 47_952, 50_000)


def chunk(name: bytes, content: bytes, length: int | None = None) -> bytes:
    length = len(content) if length is None else length
    return name + struct.pack("<I", length) + content + bytes(len(content) % 2)


def riff(*chunks: bytes, form: bytes = b"WAVE", length: int | None = None) -> bytes:
    body = form + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def pcm(channels: int = 1, rate: int = 16_000, seconds: float = SECONDS) -> bytes:
    """16-bit samples as they lie in a file."""
    file = io.BytesIO()
    soundfile.write(file, wave(rate, channels, seconds), rate, format="RAW", subtype="PCM_16")
    return file.getvalue()


def fmt(
    tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, block: int = 0, extra: bytes = b""
) -> bytes:
    block = block or channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra)


def sixteen(path: Path) -> tuple[int, np.ndarray]:
    """The samples of `pcm()`, whatever a header states."""
    return 16_000, (np.frombuffer(pcm(), "<i2").astype(np.float32) / 32_768)[:, None]


def patched(content: bytes, *changes: tuple[int, bytes]) -> bytes:
    out = bytearray(content)
    for place, new in changes:
        out[place : place + len(new)] = new
    return bytes(out)


def at(content: bytes, name: bytes, offset: int = 0) -> int:
    """The place of a chunk's name, plus an offset."""
    return content.index(name) + offset


def _plain() -> Iterator[Case]:
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW", "IMA_ADPCM", "MS_ADPCM"):
        for channels in (1, 2):
            ima = {"truth": by_libsndfile, "why": IMA} if subtype == "IMA_ADPCM" else {}
            yield Case(
                "WAV",
                f"{subtype}-{channels}.wav",
                lambda w, s=subtype, c=channels: w.sndfile("wav", 44_100, c, subtype=s),
                **ima,
            )
    for rate in (*RATES, *ODD_RATES):
        yield Case("WAV", f"rate-{rate}.wav", lambda w, r=rate: w.sndfile("wav", r, 1, 0.3, subtype="PCM_16"))
    for channels in range(3, 9):
        yield Case("WAV", f"channels-{channels}.wav", lambda w, c=channels: w.ffmpeg("wav", source=w.source(16_000, c)))
    yield Case("WAV", "channels-24.wav", lambda w: w.sndfile("wav", 16_000, 24, 0.1, subtype="PCM_24"))
    for samples in (1, 2, 3, 160, 16_000 * 40):
        yield Case("WAV", f"samples-{samples}.wav", lambda w, n=samples: w.sndfile("wav", 16_000, 1, n / 16_000))
    yield Case("WAV", "GSM610.wav", lambda w: w.sndfile("wav", 8_000, 1, subtype="GSM610"))
    yield Case(
        "WAV", "g721.wav", lambda w: _sndfile_or_none(w, "G721_32"), truth=lambda path: _as_written("au", "G721_32")
    )
    yield Case("WAV", "sox-gsm.wav", lambda w: w.sox("wav", "-r 8000 -c 1 -e gsm-full-rate"))
    for name, options in (
        ("g726-16k", "-c:a g726 -ar 8000 -ac 1 -b:a 16k"),
        ("g726-24k", "-c:a g726 -ar 8000 -ac 1 -b:a 24k"),
        ("g726-32k", "-c:a g726 -ar 8000 -ac 1 -b:a 32k"),
        ("g726-40k", "-c:a g726 -ar 8000 -ac 1 -b:a 40k"),
        ("g722", "-c:a g722 -ar 16000 -ac 1"),
        ("mp3", "-c:a libmp3lame"),
        ("mp3-22k-mono", "-c:a libmp3lame -ar 22050 -ac 1"),
        ("mp2", "-c:a mp2"),
        ("ac3", "-c:a ac3"),
        ("aac", "-c:a aac"),
        ("wma1", "-c:a wmav1"),
        ("wma2", "-c:a wmav2"),
        ("dts", "-strict -2 -c:a dca"),
        ("flac", "-c:a flac"),
        ("adpcm-yamaha", "-c:a adpcm_yamaha"),
        ("adpcm-ima-ffmpeg", "-c:a adpcm_ima_wav"),
        ("adpcm-ms-ffmpeg", "-c:a adpcm_ms"),
        ("adpcm-swf", "-c:a adpcm_swf"),
        ("s64", "-c:a pcm_s64le"),
        ("f64-rf64", "-c:a pcm_f64le -rf64 always"),
        ("rf64", "-rf64 always"),
        ("peak", "-write_peak on"),
        ("bext", "-write_bext 1 -metadata description=owls"),
        ("gsm-ms", "-c:a libgsm_ms -ar 8000 -ac 1"),
        ("g723", "-c:a g723_1 -ar 8000 -ac 1 -b:a 6.3k"),
        ("s16-96k-6", "-ar 96000 -ac 6"),
    ):
        yield Case(
            "WAV with other codecs",
            f"{name}.wav",
            lambda w, o=options: w.ffmpeg("wav", o),
            refused="raw AAC" if name == "aac" else "",
            truth=by_libsndfile if name == "adpcm-ima-ffmpeg" else None,
            window_tolerance=None
            if name in ("ac3", "dts")
            else 1e-2
            if name.startswith("wma")
            else 2e-3
            if name.startswith(("mp", "g72", "nelly"))
            else 1e-6,
        )
    for name, options in (
        ("u8", "-b 8"),
        ("s24", "-b 24"),
        ("s32", "-b 32"),
        ("ima", "-e ima-adpcm"),
        ("ms", "-e ms-adpcm"),
    ):
        yield Case(
            "WAV",
            f"sox-{name}.wav",
            lambda w, o=options: w.sox("wav", o),
            truth=by_libsndfile if name == "ima" else None,
        )
    rifx = "ffmpeg reads RIFX as if it were RIFF: noise"
    yield Case("WAV", "sox-rifx.wav", lambda w: w.sox("wav", "-B"), truth=by_libsndfile, why=rifx)
    for subtype in ("FLOAT", "DOUBLE", "PCM_U8", "PCM_32", "ULAW"):
        yield Case(
            "WAV", f"wavex-{subtype}.wav", lambda w, s=subtype: w.sndfile("wav", 16_000, 2, format="WAVEX", subtype=s)
        )
    yield Case("WAV", "wavex.wav", lambda w: w.sndfile("wav", 16_000, 2, format="WAVEX", subtype="PCM_24"))
    yield Case(
        "WAV",
        "rifx.wav",
        lambda w: w.sndfile("wav", 16_000, 2, endian="BIG", subtype="PCM_24"),
        truth=by_libsndfile,
        why=rifx,
    )


def _sndfile_or_none(w: Workshop, subtype: str) -> bytes:
    """G.721 inside WAV, which libsndfile writes in AU files only: the AU file's codes under a WAV header."""
    au = w.sndfile("au", 8_000, 1, subtype=subtype)
    begin = int.from_bytes(au[4:8], "big")
    return riff(fmt(0x40, 1, 8_000, 4, 1, struct.pack("<HH", 2, 0)), chunk(b"data", au[begin:]))


def _chunks() -> Iterator[Case]:
    data = chunk(b"data", pcm())
    listed = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 5) + b"abcd\0\0")
    odd = chunk(b"JUNK", b"x" * 333)
    layouts: dict[str, bytes] = {
        "list-in-front": riff(fmt(), listed, data),
        "list-behind": riff(fmt(), data, listed),
        "odd-chunk-in-front": riff(fmt(), odd, data),
        "odd-chunk-behind": riff(fmt(), data, odd),
        "junk-before-fmt": riff(chunk(b"JUNK", bytes(28)), fmt(), data),
        "fact": riff(fmt(), chunk(b"fact", struct.pack("<I", 17_600)), data),
        "wrong-fact": riff(fmt(), chunk(b"fact", struct.pack("<I", 5)), data),
        "fmt-18": riff(fmt(extra=b"\0\0"), data),
        "big-junk": riff(fmt(), chunk(b"PAD ", bytes(70_000)), data),
        "id3-chunk-behind": riff(fmt(), data, chunk(b"id3 ", b"ID3\4\0\0\0\0\0\0")),
        "cue-and-adtl": riff(fmt(), data, chunk(b"cue ", bytes(28)), listed),
        "two-data-like": riff(fmt(), chunk(b"JUNK", b"data\4\0\0\0abcd"), data),
        "zeros-behind": riff(fmt(), data) + bytes(4096),
        "riff-length-0": riff(fmt(), data, length=0),
        "riff-length-short": riff(fmt(), data, length=4_000),
        "riff-length-long": riff(fmt(), data, length=4_000_000),
        "no-pad-byte": riff(fmt(1, 1, 16_000, 8), b"data" + struct.pack("<I", 17_601) + bytes([128]) * 17_601),
        "data-length-counts-header": riff(fmt(), chunk(b"data", pcm(), len(pcm()) + 44)),
        "data-length-counts-8": riff(fmt(), chunk(b"data", pcm(), len(pcm()) + 8)),
    }
    for name, content in layouts.items():
        yield Case("WAV", f"{name}.wav", lambda w, c=content: c, truth=None if name == "no-pad-byte" else sixteen)
    extensible = struct.pack("<HHI", 22, 16, 0) + bytes.fromhex("0100000000001000800000aa00389b71")
    yield Case("WAV", "extensible.wav", lambda w: riff(fmt(0xFFFE, extra=extensible), data), truth=sixteen)
    in32 = (np.frombuffer(pcm(), "<i2").astype("<i4") << 16).tobytes()
    yield Case(
        "WAV", "24-in-32.wav", lambda w: riff(fmt(1, 1, 16_000, 24, 4), chunk(b"data", in32)), refused="contradicts"
    )
    valid = struct.pack("<HHI", 22, 20, 0) + bytes.fromhex("0100000000001000800000aa00389b71")
    yield Case(
        "WAV",
        "20-in-24.wav",
        truth=sixteen,
        make=lambda w: riff(fmt(0xFFFE, bits=24, extra=valid), chunk(b"data", _widened(pcm()))),
    )


def _widened(samples: bytes) -> bytes:
    return b"".join(b"\0" + samples[i : i + 2] for i in range(0, len(samples), 2))


def _lengths() -> Iterator[Case]:
    """Headers whose lengths are not those of the file."""
    whole, count = riff(fmt(), chunk(b"data", pcm())), len(pcm())
    for name, stated in (
        ("0", 0),
        ("ffffffff", 0xFFFFFFFF),
        ("7fffffff", 0x7FFFFFFF),
        ("fffffffe", 0xFFFFFFFE),
        ("7ffff000", 0x7FFFF000),
        ("80000000", 0x80000000),
        ("ffffffdb", 0xFFFFFFDB),
    ):
        content = patched(whole, (40, struct.pack("<I", stated)))
        yield Case("WAV", f"crashed-{name}.wav", lambda w, c=content: c, truth=sixteen)
        both = patched(content, (4, struct.pack("<I", stated)))
        yield Case("WAV", f"crashed-both-{name}.wav", lambda w, c=both: c, truth=sixteen)
    for stated in (1_000, count // 2, count - 100):
        content = patched(whole, (40, struct.pack("<I", stated)))
        yield Case("WAV", f"short-{stated}.wav", lambda w, c=content: c, refused="counts")
    for stated in (count + 2, count + 10, count + 60, count + 100, 2 * count, 10**9):
        content = patched(whole, (40, struct.pack("<I", stated)), (4, struct.pack("<I", stated + 36)))
        yield Case("WAV", f"long-{stated - count}.wav", lambda w, c=content: c, refused="truncated")
    for cut in (1, 2, 8, 30, 44, 60, 100, 5_000):
        yield Case("WAV", f"cut-{cut}.wav", lambda w, c=cut: whole[:-c], refused="truncated")
    listed = riff(fmt(), chunk(b"data", pcm()), chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 4) + b"abcd"))
    yield Case("WAV", "cut-in-list.wav", lambda w: listed[:-6], truth=sixteen, why="no sound is missing")
    for name, stated in (("0", 0), ("ffffffff", 0xFFFFFFFF), ("7fffffff", 0x7FFFFFFF)):
        for subtype in ("PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"):
            yield Case(
                "WAV",
                f"crashed-{name}-{subtype}.wav",
                lambda w, s=subtype, n=stated: _unfilled(w.sndfile("wav", 8_000, 1, subtype=s), n),
                truth=lambda path, s=subtype: (
                    _as_written("wav", s) if s in ("PCM_24", "FLOAT", "ULAW", "IMA_ADPCM") else _unspoilt(path, s)
                ),
            )
        for codec, options in (
            ("mp3", "-c:a libmp3lame"),
            ("ac3", "-c:a ac3"),
            ("g726", "-c:a g726 -ar 8000 -ac 1 -b:a 32k"),
            ("aac", "-c:a aac"),
        ):
            yield Case(
                "WAV with other codecs",
                f"crashed-{name}-{codec}.wav",
                window_tolerance=None if codec == "ac3" else 1e-2,
                refused="raw AAC" if codec == "aac" else "",
                make=lambda w, o=options, n=stated: _unfilled(w.ffmpeg("wav", o), n),
                truth=_ignoring_length,
            )
    yield Case("WAV", "a-second-file-behind.wav", lambda w: whole + whole, refused="follows")
    silent = pcm() + bytes(2_000) + pcm()
    for kind in ("wav", "aiff", "au", "caf", "w64"):
        yield Case(
            kind.upper(),
            f"stale-before-silence.{kind}",
            lambda w, k=kind: _stale(k, silent, len(pcm()) + 200),
            refused="counts",
        )
    yield Case("WAV", "padded-by-zeros.wav", lambda w: whole + bytes(3_000), truth=sixteen)
    yield Case("WAV", "padded-before-a-tag.wav", lambda w: whole + bytes(3_000) + b"TAG" + bytes(125), truth=sixteen)
    two = riff(fmt(), chunk(b"data", pcm()), chunk(b"data", pcm()))
    yield Case("WAV", "two-data-chunks.wav", lambda w: two, refused="several chunks")
    several = riff(fmt(), chunk(b"LIST", b"wavl" + chunk(b"data", pcm()) + chunk(b"data", pcm())))
    yield Case("WAV", "list-of-data-chunks.wav", lambda w: several, refused="several chunks")
    yield Case(
        "WAV", "headers-only.wav", lambda w: riff(fmt(), chunk(b"data", b"")), refused="zero length", sound=False
    )
    yield Case(
        "WAV", "no-data-chunk.wav", lambda w: riff(fmt(), chunk(b"LIST", b"INFO")), refused="zero length", sound=False
    )
    yield Case("WAV", "no-fmt-chunk.wav", lambda w: riff(chunk(b"data", pcm())), refused="no fmt chunk")
    yield Case("WAV", "cut-in-header.wav", lambda w: whole[:30], refused="truncated", sound=False)
    yield Case("WAV", "0-hertz.wav", lambda w: patched(whole, (24, bytes(4))), refused="0 Hz")
    yield Case("WAV", "0-channels.wav", lambda w: patched(whole, (22, bytes(2))), refused="channel")
    yield Case("WAV", "unknown-codec.wav", lambda w: patched(whole, (20, b"\x99\x09")), refused="codec")
    for kind, options in (
        ("wav", ""),
        ("wav", "-c:a pcm_s24le"),
        ("wav", "-c:a pcm_f32le"),
        ("wav", "-c:a pcm_mulaw"),
        ("wav", "-c:a adpcm_ms"),
        ("w64", ""),
        ("au", ""),
        ("au", "-c:a pcm_mulaw"),
        ("aiff", ""),
        ("caf", ""),
    ):
        yield Case(
            kind.upper(),
            f"piped-{options.split('_')[-1]}.{kind}",
            lambda w, k=kind, o=options: w.piped(k, o),
            truth=(lambda path: _as_written("wav", "PCM_16", 44_100, 2)) if kind in ("w64", "aiff") else None,
        )


def _stale(kind: str, samples: bytes, counted: int) -> bytes:
    """A file of 16-bit samples whose header counts some of them only."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(samples[:counted], "<i2"), 16_000, format=kind.upper(), subtype="PCM_16")
    rest = np.frombuffer(samples[counted:], "<i2")
    return file.getvalue() + rest.astype("<i2" if kind in ("wav", "w64") else ">i2").tobytes()


def _unfilled(content: bytes, length: int) -> bytes:
    return patched(content, (at(content, b"data", 4), struct.pack("<I", length)))


def _unspoilt(path: Path, subtype: str) -> tuple[int, np.ndarray] | None:
    """What ffmpeg decodes of the file whose header is right."""
    from bench.oracle import ffmpeg

    whole = path.with_name("unspoilt.wav")
    soundfile.write(whole, wave(8_000, 1), 8_000, subtype=subtype)
    return ffmpeg(whole)


def _as_written(extension: str, subtype: str, rate: int = 8_000, channels: int = 1) -> tuple[int, np.ndarray]:
    """What libsndfile reads of the file whose header is right."""
    file = io.BytesIO()
    soundfile.write(file, wave(rate, channels), rate, format=extension.upper(), subtype=subtype)
    file.seek(0)
    return rate, soundfile.read(file, dtype="float32", always_2d=True)[0]


def _ignoring_length(path: Path) -> tuple[int, np.ndarray] | None:
    """As ffmpeg decodes it with an option to ignore the lengths."""
    from bench.oracle import ffmpeg

    return ffmpeg(path, "-ignore_length", "1")


def _others() -> Iterator[Case]:
    for extension, subtypes in {
        "aiff": ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"),
        "au": ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
        "caf": ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "ALAC_16", "ALAC_24"),
        "w64": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "MS_ADPCM", "IMA_ADPCM"),
        "rf64": ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"),
    }.items():
        for subtype in subtypes:
            channels = 1 if subtype == "IMA_ADPCM" and extension == "aiff" else 2
            yield Case(
                extension.upper(),
                f"{subtype}.{extension}",
                lambda w, e=extension, s=subtype, c=channels: w.sndfile(e, 22_050, c, subtype=s),
                truth=by_libsndfile if (extension, subtype) == ("w64", "IMA_ADPCM") else None,
                window_tolerance=4e-3 if (extension, subtype) == ("aiff", "IMA_ADPCM") else 1e-6,
            )
    for extension in ("aiff", "au", "caf", "w64"):
        for channels in (1, 6, 8):
            yield Case(
                extension.upper(),
                f"channels-{channels}.{extension}",
                lambda w, e=extension, c=channels: w.ffmpeg(e, source=w.source(16_000, c, 0.3)),
            )
        for share in (0.99, 0.5):
            yield Case(
                extension.upper(),
                f"cut-{share}.{extension}",
                refused="truncated",
                make=lambda w, e=extension, s=share: (c := w.sndfile(e, 16_000, 1, subtype="PCM_16"))[
                    : round(s * len(c))
                ],
            )
        for cut in (1, 8, 30):
            yield Case(
                extension.upper(),
                f"cut-{cut}-bytes.{extension}",
                refused="truncated",
                make=lambda w, e=extension, n=cut: _tight(w, e)[:-n],
            )
        yield Case(
            extension.upper(),
            f"twice.{extension}",
            refused="follows",
            make=lambda w, e=extension: 2 * w.sndfile(e, 16_000, 1, subtype="PCM_16"),
        )
        yield Case(
            extension.upper(),
            f"one-sample.{extension}",
            lambda w, e=extension: w.sndfile(e, 16_000, 1, 1 / 16_000, subtype="PCM_16"),
        )
    for name, extension, options in (
        ("sowt", "aif", "-c:a pcm_s16le"),
        ("fl32", "aif", "-c:a pcm_f32be"),
        ("fl64", "aif", "-c:a pcm_f64be"),
        ("alaw", "aifc", "-f aiff -c:a pcm_alaw"),
        ("ulaw", "aif", "-c:a pcm_mulaw"),
        ("s24", "aif", "-c:a pcm_s24be"),
        ("ima4", "aif", "-c:a adpcm_ima_qt"),
        ("title", "aiff", "-write_id3v2 1 -metadata title=owls"),
        ("alac", "caf", "-c:a alac"),
        ("opus", "caf", "-c:a libopus -ar 48000"),
        ("s16le", "caf", "-c:a pcm_s16le"),
        ("f32", "caf", "-c:a pcm_f32be"),
        ("ulaw", "caf", "-c:a pcm_mulaw"),
        ("ima", "caf", "-c:a adpcm_ima_qt"),
        ("mp3", "caf", "-c:a libmp3lame"),
        ("flac", "caf", "-c:a flac"),
        ("s24", "au", "-c:a pcm_s24be"),
        ("f32", "au", "-c:a pcm_f32be"),
        ("s16", "w64", ""),
        ("f32", "w64", "-c:a pcm_f32le"),
        ("sox", "voc", ""),
        ("s16", "voc", "-c:a pcm_s16le"),
        ("alaw", "voc", "-c:a pcm_alaw"),
        ("u8", "voc", "-c:a pcm_u8 -ac 1"),
    ):
        yield Case(
            "VOC" if extension == "voc" else "AIFF" if extension.startswith("aif") else extension.upper(),
            f"ffmpeg-{name}.{extension}",
            lambda w, e=extension, o=options: w.ffmpeg(e, o),
            window_tolerance=1e-2 if name in ("opus", "mp3") else 4e-3 if name.startswith("ima") else 1e-6,
            why="a block of QuickTime's ADPCM states its first sample to 1/256 only" if name.startswith("ima") else "",
        )
    for name, extension, options in (
        ("u8", "voc", "-b 8"),
        ("s16", "voc", "-b 16"),
        ("s16", "sph", ""),
        ("s16-mono", "sph", "-c 1"),
        ("ulaw", "sph", "-c 1 -e u-law"),
        ("s16le", "sph", "-L"),
        ("s16be", "sph", "-B"),
        ("g721", "au", ""),
        ("sowt", "aifc", ""),
        ("s8", "aiff", "-b 8"),
        ("s24", "aiff", "-b 24"),
        ("s32", "aiff", "-b 32"),
        ("s24", "au", "-b 24"),
        ("ulaw", "au", "-e u-law"),
        ("w64", "w64", ""),
        ("caf", "caf", ""),
    ):
        yield Case(
            {"sph": "NIST SPHERE", "aifc": "AIFF"}.get(extension, extension.upper()),
            f"sox-{name}.{extension}",
            lambda w, e=extension, o=options: w.sox(e, o),
        )
    for name in ("sph", "nist"):
        yield Case("NIST SPHERE", f"timit-{name}.wav", lambda w: w.sox("sph", "-c 1 -r 16000"))
    yield Case("NIST SPHERE", "cut.sph", lambda w: w.sox("sph", "-c 1 -r 16000")[:-5_000], refused="truncated")
    yield Case("VOC", "cut.voc", lambda w: w.sox("voc", "-b 16")[:-5_000], refused="truncated")
    for subtype in ("G721_32", "G723_24", "G723_40"):
        yield Case(
            "AU", f"{subtype}.au", lambda w, s=subtype: w.sndfile("au", 8_000, 1, subtype=s), truth=by_libsndfile
        )
    yield Case(
        "AU", "unknown-length.au", lambda w: patched(w.sndfile("au", 16_000, 1, subtype="PCM_16"), (8, b"\xff" * 4))
    )
    yield Case(
        "AU",
        "length-0.au",
        lambda w: patched(w.sndfile("au", 16_000, 1, subtype="PCM_16"), (8, bytes(4))),
        truth=sixteen,
    )
    yield Case(
        "AU",
        "length-0-ulaw.au",
        lambda w: patched(w.sndfile("au", 8_000, 1, subtype="ULAW"), (8, bytes(4))),
        truth=lambda path: _as_written("au", "ULAW"),
    )
    yield Case(
        "AU",
        "note.au",
        lambda w: (
            b".snd"
            + struct.pack(">IIIII", 56, len(pcm()), 3, 16_000, 1)
            + b"a note of no use".ljust(32, b"\0")
            + np.frombuffer(pcm(), "<i2").byteswap().tobytes()
        ),
        truth=sixteen,
    )
    yield Case(
        "AU",
        "short.au",
        lambda w: patched(w.sndfile("au", 16_000, 1, subtype="PCM_16"), (8, struct.pack(">I", 1_000))),
        refused="counts",
    )
    yield Case(
        "CAF", "size-unknown.caf", lambda w: _open_caf(w.sndfile("caf", 16_000, 1, subtype="PCM_16")), truth=sixteen
    )
    yield Case(
        "RF64",
        "bw64.wav",
        lambda w: patched(w.sndfile("rf64", 16_000, 1, subtype="PCM_16"), (0, b"BW64")),
        truth=sixteen,
    )
    yield Case("RF64", "named.rf64", lambda w: w.sndfile("rf64", 16_000, 1, subtype="PCM_16"), truth=sixteen)
    yield Case(
        "RF64", "cut.wav", lambda w: w.sndfile("rf64", 16_000, 1, subtype="PCM_16")[:-1_000], refused="truncated"
    )
    yield Case(
        "RF64",
        "ds64-0.wav",
        lambda w: (c := w.sndfile("rf64", 16_000, 1, subtype="PCM_16")) and patched(c, (at(c, b"ds64", 16), bytes(8))),
        truth=sixteen,
    )
    yield Case(
        "W64",
        "length-0.w64",
        lambda w: (
            (c := w.sndfile("w64", 16_000, 1, subtype="PCM_16")) and patched(c, (at(c, b"data\xf3", 16), bytes(8)))
        ),
        truth=sixteen,
    )
    yield Case(
        "AIFF",
        "length-0.aiff",
        lambda w: (c := w.sndfile("aiff", 16_000, 1, subtype="PCM_16")) and patched(c, (at(c, b"SSND", 4), bytes(4))),
        truth=sixteen,
    )
    yield Case(
        "AIFF",
        "length-ffffffff.aiff",
        lambda w: (
            (c := w.sndfile("aiff", 16_000, 1, subtype="PCM_16")) and patched(c, (at(c, b"SSND", 4), b"\xff" * 4))
        ),
        truth=sixteen,
    )


def _tight(w: Workshop, extension: str) -> bytes:
    """A file whose last byte is sound."""
    return w.sndfile(extension, 16_000, 1, 1.0, subtype="PCM_16")


def by_libsndfile(path: Path) -> tuple[int, np.ndarray]:
    wave_FC, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return rate, wave_FC


def _open_caf(content: bytes) -> bytes:
    place = at(content, b"data", 4)
    return patched(content, (place, b"\xff" * 8))


def cases() -> Iterator[Case]:
    makers: tuple[Callable[[], Iterator[Case]], ...] = (_plain, _chunks, _lengths, _others)
    for make in makers:
        yield from make()
