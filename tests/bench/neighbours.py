"""Cases close to those once read wrongly: many channels, long files, tags out of place, sound in disguise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.case import Case
from bench.containers import NOISE
from bench.mp3 import ID3V1, LOSSY, ape, bare, frames_of, id3, noise, without
from bench.ogg_flac import OPUS, parts
from bench.uncompressed import by_libsndfile, chunk, fmt, pcm, riff, sixteen
from bench.workshop import wave

# Container and codec of half a minute, so that windows are found by seeking.
LONG = (
    ("m4a", "-c:a aac"),
    ("m4a", "-c:a alac"),
    ("mp4", "-c:a libopus"),
    ("mov", "-c:a pcm_s16le"),
    ("mka", "-c:a aac"),
    ("mka", "-c:a libmp3lame"),
    ("mka", "-c:a ac3"),
    ("mka", "-c:a libopus"),
    ("mka", "-c:a pcm_s16le"),
    ("mka", "-c:a tta"),
    ("mka", "-c:a alac"),
    ("mka", "-c:a wavpack"),
    ("webm", "-c:a libvorbis"),
    ("wma", "-c:a wmav1"),
    ("wma", "-c:a wmav2"),
    ("asf", "-c:a libmp3lame"),
    ("avi", "-c:a libmp3lame"),
    ("flv", "-c:a libmp3lame"),
    ("mts", "-f mpegts -c:a mp2"),
    ("mpg", "-c:a mp2"),
    ("wv", "-c:a wavpack"),
    ("tta", "-c:a tta"),
    ("oga", "-c:a flac"),
    ("caf", "-c:a alac"),
)
# Container, codec, rate and channels.
CHANNELS = (
    ("wav", "", 16_000, 16),
    ("mka", "-c:a libvorbis", 16_000, 10),
    ("ogg", "-c:a libvorbis", 16_000, 12),
    ("ogg", "-c:a libvorbis", 44_100, 3),
    ("opus", "-c:a libopus -mapping_family 255", 48_000, 16),
    ("opus", "-c:a libopus -mapping_family 1", 48_000, 5),
    ("m4a", "-c:a alac", 48_000, 8),
    ("flac", "", 48_000, 8),
    ("mov", "-c:a pcm_f32le", 48_000, 5),
    ("mov", "-c:a pcm_s16le", 48_000, 7),
    ("mov", "-c:a pcm_s24le", 48_000, 9),
    ("mkv", "-c:a pcm_s32le", 16_000, 16),
)


def _long() -> Iterator[Case]:
    for extension, options in LONG:
        noisy = options.endswith(("aac", "ac3"))
        yield Case(
            "Half a minute",
            f"{options.split()[-1]}.{extension}",
            lambda w, e=extension, o=options: w.ffmpeg(e, o, w.source(44_100, 2, 25.0)),
            window_tolerance=None if noisy else LOSSY,
            tolerance=4e-5 if options.endswith("mp2") else 2e-6,
            why=NOISE if noisy else "",
        )
    for rate, options in ((8_000, ""), (16_000, "-frame_duration 2.5"), (16_000, "-frame_duration 60"), (44_100, "")):
        yield Case(
            "Half a minute",
            f"opus-{rate}{options}.webm".replace(" ", ""),
            lambda w, r=rate, o=options: w.ffmpeg("webm", f"-c:a libopus {o}", w.source(r, 1, 8.0)),
            window_tolerance=LOSSY,
        )


def _channels() -> Iterator[Case]:
    for extension, options, rate, channels in CHANNELS:
        yield Case(
            "Many channels",
            f"{channels}-{(options.split() or ['', 'pcm'])[1]}.{extension}",
            lambda w, e=extension, o=options, r=rate, c=channels: w.ffmpeg(e, o, w.source(r, c)),
            window_tolerance=LOSSY,
        )


def _layouts() -> Iterator[Case]:
    """AAC whose channels only its first frame describes, and PCM whose channels are in an order of their own."""
    for layout, channels in (("2.1", 3), ("quad", 4), ("hexagonal", 6), ("octagonal", 8)):
        for extension in ("aac", "m4a"):
            yield Case(
                "Many channels",
                f"{layout}.{extension}",
                lambda w, e=extension, o=layout, c=channels: w.ffmpeg(
                    e, f"-af aformat=channel_layouts={o} -c:a aac", w.source(48_000, c)
                ),
                window_tolerance=None,
                why=NOISE,
            )


def _tags() -> Iterator[Case]:
    behind = {"id3v1": ID3V1, "ape": ape(), "3-bytes": bytes(3), "id3v2": id3(300)}
    for name, tag in behind.items():
        for kind in ("aiff", "caf", "au", "w64", "rf64"):
            yield Case(
                kind.upper(),
                f"{name}-behind.{kind}",
                lambda w, k=kind, t=tag: w.sndfile(k, 16_000, 1, subtype="PCM_16") + t,
                truth=sixteen,
            )
        content = riff(fmt(), chunk(b"data", pcm())) + tag
        yield Case("WAV", f"{name}-behind.wav", lambda w, c=content: c, truth=sixteen)
    front = {
        "wav": lambda w: riff(fmt(), chunk(b"data", pcm())),
        "aiff": lambda w: w.sndfile("aiff", 16_000, 1, subtype="PCM_16"),
        "m4a": lambda w: w.ffmpeg("m4a", "-c:a alac"),
    }
    for kind, make in front.items():
        yield Case("Names", f"id3-front.{kind}", lambda w, m=make: id3(500) + m(w), refused="ID3 tag in front")


def _disguised() -> Iterator[Case]:
    dts = "-strict -2 -c:a dca"
    yield Case(
        "WAV",
        "dts-as-pcm.wav",
        lambda w: riff(fmt(1, 2, 44_100, 16), chunk(b"data", w.ffmpeg("dts", dts))),
        refused="DTS",
    )
    yield Case(
        "NIST SPHERE",
        "shorten.sph",
        lambda w: w.sox("sph", "-c 1").replace(b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00"),
        refused="Shorten",
    )
    marks = np.random.default_rng(0).integers(-3_000, 3_000, 16_000).astype("<i2")
    marks[[100, 7_000, 9_001]] = -385  # 7f fe, and inverted 80 01, as the first bytes of DTS
    antiphase = np.stack([marks, ~marks], 1).tobytes()
    yield Case("WAV", "antiphase.wav", lambda w: riff(fmt(1, 2, 16_000, 16), chunk(b"data", antiphase)))
    yield Case("WAV", "spdif.wav", lambda w: w.ffmpeg("wav", "-f spdif -c:a ac3"), refused="not audio")
    loud = chunk(b"data", (3 * wave(16_000, 1)).astype("<f4").tobytes())
    yield Case("WAV", "beyond-1.wav", lambda w: riff(fmt(3, 1, 16_000, 32), loud))
    mono = "-c:a adpcm_ima_wav -ac 1 -ar 8000"
    yield Case("WAV", "dvi-mono.wav", lambda w: w.ffmpeg("wav", mono), truth=by_libsndfile)
    yield Case("WAV", "cut-adpcm.wav", lambda w: w.ffmpeg("wav", "-c:a adpcm_ima_wav")[:-700], refused="truncated")
    opus = lambda w: w.ffmpeg("opus", OPUS)
    yield Case("Ogg Opus", "twice.opus", lambda w: 2 * opus(w), truth=parts(opus, opus), window_tolerance=LOSSY)


def _mp3() -> Iterator[Case]:
    def case(name: str, make, **more) -> Case:
        return Case("MP3", f"{name}.mp3", make, window_tolerance=LOSSY, **more)

    variable = lambda w: bare(w.lame("-V 5"))
    huge = b"ID3\3\0\0\x2f\x5f\x08\x40" + bytes(50)  # states 100 MB
    yield case("tag-of-100-mb", lambda w: huge + w.lame("-V 5"), truth=without(first=60))
    heads = b"\xff\xfb\x90\0" * 3 + noise(500)
    yield case("heads-without-frames", lambda w: heads + variable(w), truth=without(first=512))
    yield case("two-frames", lambda w: (b := variable(w))[: frames_of(b)[2]])
    yield case("html-behind", lambda w: variable(w) + b"<html>oops</html>" * 200, refused="damaged")
    yield case("a-word-behind", lambda w: variable(w) + b"thanks for listening")
    yield case("riff-inside", lambda w: w.ffmpeg("wav", "-c:a libmp3lame"), refused="holds WAV")
    yield case("cut-and-tagged", lambda w: (c := w.lame("-V 5"))[: len(c) // 2] + ID3V1, refused="truncated")


def cases() -> Iterator[Case]:
    for make in (_long, _channels, _layouts, _tags, _disguised, _mp3):
        yield from make()
