"""Films, downloads and broadcasts: MP4, WebM and Matroska, ADTS, WMA, AMR, AVI, FLV, MPEG streams and others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.case import Case
from bench.mp3 import ID3V1, LOSSY, ape, id3
from bench.workshop import COVER, Workshop

VIDEO = "-f lavfi -i testsrc=s=64x64:d=1:r=10"
NOISE = "the decoder fills bands with noise, which it draws again after a seek"


def _mp4() -> Iterator[Case]:
    def case(name: str, make, **more) -> Case:
        more.setdefault("window_tolerance", None if "aac" in name else LOSSY)
        return Case("MP4", name, make, **more)

    for rate, channels in (
        (8_000, 1),
        (11_025, 2),
        (16_000, 1),
        (22_050, 2),
        (44_100, 1),
        (44_100, 2),
        (48_000, 6),
        (48_000, 8),
        (96_000, 2),
    ):
        yield case(
            f"aac-{rate}-{channels}.m4a", lambda w, r=rate, c=channels: w.ffmpeg("m4a", "-c:a aac", w.source(r, c))
        )
    for extension in ("mp4", "mov", "3gp", "3g2", "m4b"):
        yield case(
            f"aac.{extension}", lambda w, e=extension: w.ffmpeg(e, "-c:a aac -f mp4" if e == "m4b" else "-c:a aac")
        )
    for rate, channels in ((22_050, 1), (44_100, 2), (48_000, 6)):
        yield case(
            f"alac-{rate}-{channels}.m4a", lambda w, r=rate, c=channels: w.ffmpeg("m4a", "-c:a alac", w.source(r, c))
        )
    yield case(
        "alac-24.m4a", lambda w: w.ffmpeg("m4a", "-c:a alac -sample_fmt s32p", w.source(44_100, 2, subtype="PCM_24"))
    )
    for name, extension, options in (
        ("opus", "mp4", "-c:a libopus"),
        ("opus-16k", "mp4", "-c:a libopus -ar 16000 -ac 1"),
        ("flac", "mp4", "-strict -2 -c:a flac"),
        ("mp3", "mp4", "-c:a libmp3lame"),
        ("ac3", "mp4", "-c:a ac3"),
        ("eac3", "mp4", "-c:a eac3"),
        ("vorbis", "mp4", "-c:a libvorbis"),
        ("mp2", "mp4", "-c:a mp2"),
        ("pcm16", "mov", "-c:a pcm_s16be"),
        ("pcm24", "mov", "-c:a pcm_s24le"),
        ("pcmf32", "mov", "-c:a pcm_f32le"),
        ("ulaw", "mov", "-c:a pcm_mulaw"),
        ("alaw", "mov", "-c:a pcm_alaw"),
        ("ima", "mov", "-c:a adpcm_ima_qt"),
        ("pcm8", "mov", "-c:a pcm_u8"),
        ("alac", "mov", "-c:a alac"),
        ("mp3", "mov", "-c:a libmp3lame"),
        ("s16-8", "mov", "-c:a pcm_s16le -ac 8"),
    ):
        noisy = name in ("ac3", "eac3")
        yield case(
            f"{name}.{extension}",
            lambda w, e=extension, o=options: w.ffmpeg(e, o),
            window_tolerance=None if noisy else LOSSY,
            why=NOISE if noisy else "",
        )
    for flags in (
        "faststart",
        "frag_keyframe+empty_moov",
        "frag_keyframe+empty_moov+default_base_moof",
        "dash",
        "frag_every_frame+empty_moov",
    ):
        for codec in ("aac", "libopus", "alac"):
            yield case(
                f"{flags}-{codec}-aac.mp4",
                lambda w, f=flags, c=codec: w.ffmpeg("mp4", f"-c:a {c} -movflags {f}", w.source(44_100, 2, 3.0)),
            )
    yield case("no-edit-list-aac.m4a", lambda w: w.ffmpeg("m4a", "-c:a aac -use_editlist 0"))
    yield case("starts-late-aac.m4a", lambda w: w.ffmpeg("m4a", "-c:a aac -output_ts_offset 2"))
    yield case("edit-list-cut-aac.m4a", lambda w: _recut(w, "-ss 0.5"), longer=range(-4096, 4097), tolerance=None)
    yield case("video-aac.mp4", lambda w: w.ffmpeg("mp4", f"{VIDEO} -map 1:v -map 0:a -c:v mpeg4 -c:a aac"))
    yield case("video-second-aac.mp4", lambda w: w.ffmpeg("mp4", f"{VIDEO} -map 0:a -map 1:v -c:v mpeg4 -c:a aac"))
    yield case("video-h264-aac.mov", lambda w: w.ffmpeg("mov", f"{VIDEO} -map 1:v -map 0:a -c:v libx264 -c:a aac"))
    yield case(
        "cover-aac.m4a",
        lambda w: w.ffmpeg(
            "m4a",
            f"{COVER} -c:a aac",
        ),
    )
    yield case("two-streams-aac.m4a", lambda w: w.ffmpeg("m4a", "-map 0:a -map 0:a -c:a aac"))
    yield case(
        "video-alone.mp4", lambda w: w.ffmpeg("mp4", f"{VIDEO} -map 1:v -c:v mpeg4"), refused="no sound", sound=False
    )
    yield case("chapters-aac.m4a", lambda w: w.ffmpeg("m4a", "-c:a aac -metadata title=owls -metadata artist=night"))
    for seconds in (0.001, 0.01, 0.1):
        yield case(
            f"seconds-{seconds}-aac.m4a", lambda w, s=seconds: w.ffmpeg("m4a", "-c:a aac", w.source(16_000, 1, s))
        )
    yield case("long-aac.m4a", lambda w: w.ffmpeg("m4a", "-c:a aac", w.source(16_000, 1, 60.0)))
    for share in (0.3, 0.9, 0.999):
        yield case(
            f"cut-{share}-aac.m4a",
            lambda w, s=share: (c := w.ffmpeg("m4a", "-c:a aac", w.source(44_100, 2, 3.0)))[: round(s * len(c))],
            refused="truncated",
        )
        yield case(
            f"cut-faststart-{share}-aac.m4a",
            lambda w, s=share: (c := w.ffmpeg("m4a", "-c:a aac -movflags faststart", w.source(44_100, 2, 3.0)))[
                : round(s * len(c))
            ],
            refused="truncated",
        )
        yield case(
            f"cut-fragmented-{share}-aac.mp4",
            lambda w, s=share: (
                c := w.ffmpeg("mp4", "-c:a aac -movflags frag_every_frame+empty_moov", w.source(44_100, 2, 3.0))
            )[: round(s * len(c))],
            refused="truncated",
        )
    yield case("tail-behind-aac.m4a", lambda w: w.ffmpeg("m4a", "-c:a aac") + bytes(50))
    yield case("id3v1-behind-aac.m4a", lambda w: w.ffmpeg("m4a", "-c:a aac") + ID3V1)


def _recut(w: Workshop, where: str) -> bytes:
    """A piece cut from a file without encoding it again, which an edit list then trims."""
    whole = w.ffmpeg("m4a", "-c:a aac", w.source(44_100, 2, 3.0))
    path = w.source().with_name("whole-to-cut.m4a")
    path.write_bytes(whole)
    return w.ffmpeg("m4a", "-c copy", path, before=where)


def _matroska() -> Iterator[Case]:
    for name, extension, options in (
        ("opus", "webm", "-c:a libopus"),
        ("opus-16k", "webm", "-c:a libopus -ar 16000 -ac 1"),
        ("vorbis", "webm", "-c:a libvorbis"),
        ("vorbis-22k", "webm", "-c:a libvorbis -ar 22050"),
        ("aac", "mka", "-c:a aac"),
        ("flac", "mka", "-c:a flac"),
        ("mp3", "mka", "-c:a libmp3lame"),
        ("pcm", "mka", "-c:a pcm_s16le"),
        ("pcm24", "mka", "-c:a pcm_s24le"),
        ("f32", "mka", "-c:a pcm_f32le"),
        ("alac", "mka", "-c:a alac"),
        ("ac3", "mka", "-c:a ac3"),
        ("opus", "mkv", "-c:a libopus"),
        ("mp2", "mka", "-c:a mp2"),
        ("dts", "mka", "-strict -2 -c:a dca"),
        ("wv", "mka", "-c:a wavpack"),
        ("tta", "mka", "-c:a tta"),
        ("mlp", "mka", "-strict -2 -c:a truehd"),
        ("pcm-6", "mka", "-c:a pcm_s16le -ac 6"),
        ("opus-6", "webm", "-c:a libopus -ar 48000 -ac 6 -mapping_family 1"),
        ("vorbis-5", "webm", "-c:a libvorbis -ac 5"),
        ("eac3", "mka", "-c:a eac3"),
        ("u8", "mka", "-c:a pcm_u8"),
        ("big-clusters", "mka", "-c:a libvorbis -cluster_time_limit 10000"),
        ("small-clusters", "mka", "-c:a libvorbis -cluster_time_limit 50"),
        ("live", "webm", "-c:a libopus -live 1"),
        ("live-vorbis", "webm", "-c:a libvorbis -live 1"),
        ("video", "mkv", f"{VIDEO} -map 1:v -map 0:a -c:v mpeg4 -c:a libvorbis"),
        ("video", "webm", f"{VIDEO} -map 1:v -map 0:a -c:v libvpx -c:a libopus"),
        ("two-streams", "mka", "-map 0:a -map 0:a -c:a flac"),
    ):
        noisy = name in ("aac", "ac3", "dts", "eac3")
        yield Case(
            "WebM, Matroska",
            f"{name}.{extension}",
            lambda w, e=extension, o=options: w.ffmpeg({"mka": "mka"}.get(e, e), o),
            window_tolerance=None if noisy else LOSSY,
            why=NOISE if noisy else "",
        )
    for options in ("-c:a libopus", "-c:a libvorbis", "-c:a flac", "-c:a aac"):
        name = options.split()[-1]
        tolerance = None if name == "aac" else LOSSY
        yield Case(
            "WebM, Matroska",
            f"piped-{name}.mka",
            lambda w, o=options: w.piped("matroska", o),
            window_tolerance=tolerance,
        )
        long = lambda w, o=options: w.ffmpeg("mka", o, w.source(44_100, 2, 3.0))
        for share in (0.3, 0.9, 0.999):
            yield Case(
                "WebM, Matroska",
                f"cut-{share}-{name}.mka",
                lambda w, m=long, s=share: (c := m(w))[: round(s * len(c))],
                refused="truncated",
            )
        live = lambda w, o=options: w.piped("matroska", o, w.source(44_100, 2, 3.0))
        yield Case(
            "WebM, Matroska",
            f"cut-piped-{name}.mka",
            lambda w, m=live: (c := m(w))[: round(0.7 * len(c))],
            refused="truncated",
        )
        yield Case(
            "WebM, Matroska",
            f"long-{name}.mka",
            lambda w, o=options: w.ffmpeg("mka", o, w.source(16_000, 1, 40.0)),
            window_tolerance=tolerance,
        )
    yield Case(
        "WebM, Matroska",
        "video-alone.mkv",
        lambda w: w.ffmpeg("mkv", f"{VIDEO} -map 1:v -c:v mpeg4"),
        refused="no sound",
        sound=False,
    )


def _others() -> Iterator[Case]:
    for rate, channels in ((8_000, 1), (16_000, 1), (22_050, 2), (44_100, 2), (48_000, 6), (48_000, 8)):
        yield Case(
            "AAC",
            f"{rate}-{channels}.aac",
            lambda w, r=rate, c=channels: w.ffmpeg("aac", "-c:a aac", w.source(r, c)),
            window_tolerance=None,
            why=NOISE,
        )
    aac = lambda w: w.ffmpeg("aac", "-c:a aac")
    yield Case("AAC", "id3-in-front.aac", lambda w: id3(3_000, 4) + aac(w), window_tolerance=None)
    yield Case("AAC", "id3v1-behind.aac", lambda w: aac(w) + ID3V1, window_tolerance=None)
    yield Case("AAC", "ape-behind.aac", lambda w: aac(w) + ape(), window_tolerance=None)
    yield Case("AAC", "twice.aac", lambda w: 2 * aac(w), window_tolerance=None)
    yield Case(
        "AAC", "long.aac", lambda w: w.ffmpeg("aac", "-c:a aac", w.source(16_000, 1, 40.0)), window_tolerance=None
    )
    yield Case(
        "AAC",
        "other-rate-behind.aac",
        lambda w: aac(w) + w.ffmpeg("aac", "-c:a aac", w.source(22_050, 2)),
        refused="change",
    )
    for name, extension, options, family in (
        ("wma1", "wma", "-c:a wmav1", "WMA"),
        ("wma2", "wma", "-c:a wmav2", "WMA"),
        ("wma2-mono", "wma", "-c:a wmav2 -ac 1 -ar 22050", "WMA"),
        ("wma2-8k", "wma", "-c:a wmav2 -ac 1 -ar 8000", "WMA"),
        ("mp3", "asf", "-c:a libmp3lame", "WMA"),
        ("pcm", "asf", "-c:a pcm_s16le", "WMA"),
        ("video", "wmv", f"{VIDEO} -map 1:v -map 0:a -c:v wmv2 -c:a wmav2", "WMA"),
        ("ac3", "ac3", "-c:a ac3", "AC-3"),
        ("ac3-6", "ac3", "-c:a ac3 -ac 6 -ar 48000", "AC-3"),
        ("ac3-32k", "ac3", "-c:a ac3 -ar 32000 -ac 1", "AC-3"),
        ("eac3", "eac3", "-c:a eac3", "AC-3"),
        ("eac3", "ec3", "-f eac3 -c:a eac3", "AC-3"),
        ("dts", "dts", "-strict -2 -c:a dca", "DTS"),
        ("dts-6", "dts", "-strict -2 -c:a dca -ac 6", "DTS"),
        ("wv", "wv", "-c:a wavpack", "WavPack"),
        ("wv-24", "wv", "-c:a wavpack -sample_fmt s32p", "WavPack"),
        ("wv-8", "wv", "-c:a wavpack -ac 8", "WavPack"),
        ("wv-float", "wv", "-c:a wavpack -sample_fmt fltp", "WavPack"),
        ("tta", "tta", "-c:a tta", "True Audio"),
        ("tta-24", "tta", "-c:a tta -sample_fmt s32", "True Audio"),
        ("tta-mono", "tta", "-c:a tta -ac 1 -ar 8000", "True Audio"),
        ("pcm", "avi", "-c:a pcm_s16le", "AVI"),
        ("mp3", "avi", "-c:a libmp3lame", "AVI"),
        ("ac3", "avi", "-c:a ac3", "AVI"),
        ("adpcm", "avi", "-c:a adpcm_ima_wav", "AVI"),
        ("mp2", "avi", "-c:a mp2", "AVI"),
        ("ulaw", "avi", "-c:a pcm_mulaw -ar 8000 -ac 1", "AVI"),
        ("video", "avi", f"{VIDEO} -map 1:v -map 0:a -c:v mpeg4 -c:a libmp3lame", "AVI"),
        ("aac", "flv", "-c:a aac", "FLV"),
        ("mp3", "flv", "-c:a libmp3lame", "FLV"),
        ("pcm", "flv", "-c:a pcm_s16le", "FLV"),
        ("swf", "flv", "-c:a adpcm_swf", "FLV"),
        ("nelly", "flv", "-c:a nellymoser -ac 1 -ar 22050", "FLV"),
        ("video", "flv", f"{VIDEO} -map 1:v -map 0:a -c:v flv -c:a libmp3lame", "FLV"),
        ("aac", "mts", "-f mpegts -c:a aac", "MPEG streams"),
        ("mp2", "mts", "-f mpegts -c:a mp2", "MPEG streams"),
        ("ac3", "mts", "-f mpegts -c:a ac3", "MPEG streams"),
        ("mp3", "mts", "-f mpegts -c:a libmp3lame", "MPEG streams"),
        ("opus", "mts", "-f mpegts -c:a libopus", "MPEG streams"),
        ("aac", "m2ts", "-c:a aac", "MPEG streams"),
        ("video", "mts", f"{VIDEO} -map 1:v -map 0:a -f mpegts -c:v mpeg2video -c:a mp2", "MPEG streams"),
        ("mp2", "mpg", "-c:a mp2", "MPEG streams"),
        ("mp3", "mpg", "-c:a libmp3lame", "MPEG streams"),
        ("ac3", "vob", "-c:a ac3", "MPEG streams"),
        ("video", "mpg", f"{VIDEO} -map 1:v -map 0:a -r 25 -c:v mpeg1video -c:a mp2", "MPEG streams"),
        ("pcm", "vob", "-c:a pcm_s16be -ar 48000", "MPEG streams"),
    ):
        noisy = any(word in name + options for word in ("ac3", "aac", "dca", "nelly"))
        yield Case(
            family,
            f"{name}.{extension}",
            lambda w, e=extension, o=options: w.ffmpeg("eac3" if e == "ec3" else e, o),
            window_tolerance=None if noisy else LOSSY,
            why=NOISE if noisy else "",
            tolerance=2e-3 if name == "adpcm" else 4e-5 if "mp2" in name or "-c:a mp2" in options else 2e-6,
        )
    for extension, options, family in (
        ("aac", "-c:a aac", "AAC"),
        ("ac3", "-c:a ac3", "AC-3"),
        ("eac3", "-c:a eac3", "AC-3"),
        ("dts", "-strict -2 -c:a dca", "DTS"),
        ("wma", "-c:a wmav2", "WMA"),
        ("wv", "-c:a wavpack", "WavPack"),
        ("tta", "-c:a tta", "True Audio"),
        ("avi", "-c:a pcm_s16le", "AVI"),
        ("avi", "-c:a libmp3lame", "AVI"),
        ("flv", "-c:a aac", "FLV"),
        ("mts", "-f mpegts -c:a aac", "MPEG streams"),
        ("m2ts", "-c:a aac", "MPEG streams"),
    ):
        long = lambda w, e=extension, o=options: w.ffmpeg(e, o, w.source(44_100, 2, 3.0))
        codec = options.split()[-1]
        for share in (0.3, 0.9, 0.999):
            yield Case(
                family,
                f"cut-{share}-{codec}.{extension}",
                lambda w, m=long, s=share: (c := m(w))[: round(s * len(c)) | 1],
                refused="truncated",
            )
    yield Case("AMR", "nb.amr", lambda w: amr(w), window_tolerance=None, why="its prediction carries state along")
    yield Case("AMR", "long.amr", lambda w: amr(w, 20.0), window_tolerance=None)
    yield Case("AMR", "cut.amr", lambda w: amr(w)[:-5], refused="truncated")
    yield Case("AMR", "nb.3gp", lambda w: amr(w, extension="3gp"), window_tolerance=None)


def amr(w: Workshop, seconds: float = 1.1, extension: str = "amr") -> bytes:
    """A telephone's recording, which PyAV writes where the ffmpeg of the machine has no such encoder."""
    import io

    import av

    from bench.workshop import wave

    file = io.BytesIO()
    with av.open(file, "w", format=extension) as container:
        stream = container.add_stream("libopencore_amrnb", rate=8_000, layout="mono")
        stream.bit_rate = 12_200
        samples = (wave(8_000, 1, seconds) * 32_767).astype(np.int16).T
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout="mono")
        frame.sample_rate = 8_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


def cases() -> Iterator[Case]:
    for make in (_mp4, _matroska, _others):
        yield from make()
