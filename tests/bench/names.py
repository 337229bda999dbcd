"""Names that shells, ffmpeg and sox read as something else, wrong extensions, and what is no sound at all."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from aasp.audio.io import EXTENSIONS
from bench.case import Case
from bench.mp3 import LOSSY, bare, noise
from bench.uncompressed import fmt
from bench.workshop import Workshop

NAMES = (
    "two words",
    "a:b",
    "50%",
    "%d",
    "%03d",
    "it's",
    'say "who"',
    "Käuzchen",
    "夜",
    "-dash",
    "concat:a|b",
    "file:x",
    "http:owl",
    "data:owl",
    "pipe:",
    "subfile,,start,0,end,9,,:x",
    "a|b",
    "a&b",
    "$HOME",
    "`id`",
    "a;b",
    "[0]",
    "*",
    "?",
    "#1",
    "a\\b",
    "crypto:x",
    "two\ttabs",
    "async:x",
    "cache:x",
)


def _names() -> Iterator[Case]:
    for number, name in enumerate(NAMES):
        yield Case("Names", f"{name}.wav", lambda w: w.sndfile("wav", 16_000, 1))
        yield Case("Names", f"{name}.m4a", lambda w: w.ffmpeg("m4a", "-c:a alac"))
        if number % 3 == 0:
            yield Case("Names", f"{name}.mp3", lambda w: bare(w.lame("-V 5")), window_tolerance=LOSSY)
            yield Case("Names", f"{name}.ogg", lambda w: w.ffmpeg("ogg", "-c:a libvorbis"), window_tolerance=LOSSY)
            chained = lambda w: 2 * w.ffmpeg("ogg", "-c:a flac")
            yield Case(
                "Names",
                f"{name}.oga",
                chained,
                window_tolerance=None,
                longer=range(-(10**9), 10**9),
                tolerance=None,
                why="ffmpeg plays the first link of a chain",
            )
            yield Case("Names", f"{name}-cut.wav", lambda w: w.sndfile("wav", 16_000, 1)[:-1_000], refused="truncated")
            yield Case("Names", f"{name}-free.mp3", lambda w: w.lame("--freeformat -b 330"), refused="free-format")
            yield Case(
                "Names",
                f"{name}-stale.wav",
                lambda w: b"RIFF\0\0\0\0WAVE" + fmt() + b"data\x10\x27\0\0" + b"\1\2" * 9_000,
                refused="counts",
            )
            yield Case("Names", f"{name}-twice.wav", lambda w: 2 * w.sndfile("wav", 16_000, 1), refused="second")
    yield Case("Names", "UPPER.WAV", lambda w: w.sndfile("wav", 16_000, 1))
    yield Case("Names", "no-extension", lambda w: w.sndfile("wav", 16_000, 1))
    yield Case("Names", "other.bin", lambda w: w.ffmpeg("m4a", "-c:a alac"))


def _mislabelled() -> Iterator[Case]:
    makers = {
        "WAV": lambda w: w.sndfile("wav", 16_000, 1),
        "FLAC": lambda w: w.sndfile("flac", 16_000, 1),
        "MP3": lambda w: bare(w.lame("-V 5")),
        "Ogg": lambda w: w.ffmpeg("ogg", "-c:a libvorbis"),
        "MP4": lambda w: w.ffmpeg("m4a", "-c:a aac"),
        "WebM": lambda w: w.ffmpeg("webm", "-c:a libopus"),
    }
    for kind, make in makers.items():
        for extension in (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".webm", ".aiff", ".aac", ".wma"):
            fits = {"WAV": ".wav", "FLAC": ".flac", "MP3": ".mp3", "Ogg": ".ogg", "MP4": ".m4a", "WebM": ".webm"}[kind]
            if extension != fits:
                yield Case("Mislabelled", f"{kind}{extension}", make, refused=f"holds {kind}")


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("owl.txt", "who " * 500)
    return file.getvalue()


NOT_SOUND = {
    "empty": b"",
    "text": b"this is a letter, not a sound\n" * 50,
    "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20,
    "json": b'{"error": "quota exceeded"}' * 40,
    "zip": zipped(),
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(2_000),
    "m3u": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n",
    "pls": b"[playlist]\nFile1=other.wav\nNumberOfEntries=1\n",
    "concat": b"ffconcat version 1.0\nfile other.wav\n",
    "zeros": bytes(5_000),
    "one-byte": b"R",
    "pdf": b"%PDF-1.7\n" + bytes(3_000),
    "elf": b"\x7fELF\2\1\1" + bytes(3_000),
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF" + noise(3_000, 3),
}


def _not_sound() -> Iterator[Case]:
    for extension in sorted(EXTENSIONS):
        for kind, content in NOT_SOUND.items():
            reason = "empty file" if kind == "empty" else "not audio"
            yield Case("Not sound", f"{kind}{extension}", lambda w, c=content: c, refused=reason, sound=False)
        for seed in (5, 6):
            yield Case(
                "Not sound",
                f"noise-{seed}{extension}",
                lambda w, s=seed: noise(20_000, s),
                refused="not audio",
                sound=False,
            )


def cases() -> Iterator[Case]:
    yield from _names()
    yield from _mislabelled()
    yield from _not_sound()


__all__ = ["NOT_SOUND", "Workshop", "cases"]
