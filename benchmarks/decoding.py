"""Decoding of sound files: ours against soundfile alone and PyAV alone, for formats that both support.

usage: python benchmarks/decoding.py [--rounds N] [--threads N]

Whole files of one minute, stereo at 44.1 kHz (Opus: 48 kHz), and windows of one second, at the file's rate; each file
is new to the reader, as in a large set. Ours counts MP3 frames, demuxes, checks that files are complete, mixes and
checks for NaN; soundfile and PyAV only decode.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile

from aasp.audio import compressed, ffmpeg, mpeg
from aasp.audio.io import read
from harness import Row, alternately, options, ratio, report
from sounds import clips

SECONDS, START = 60.0, 33.3
FORMATS = {"wav": {}, "flac": {}, "ogg": {"format": "OGG", "subtype": "VORBIS"}, "mp3": {}}
FORMATS["opus"] = {"format": "OGG", "subtype": "OPUS"}


def main() -> None:
    arguments = options(__doc__, rounds=7).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, settings in FORMATS.items():
            rate = 48_000 if suffix == "opus" else 44_100
            path = Path(folder) / f"a.{suffix}"
            (wave,) = clips(1, SECONDS, rate)
            with soundfile.SoundFile(path, "w", rate, channels=2, **settings) as file:
                for part in np.array_split(np.stack([wave, 0.8 * wave], axis=1), 60):  # libvorbis overflows on more
                    file.write(part)
            rows += compared(str(path), suffix, rate, arguments.rounds)
    report("decoding", rows, arguments.threads)


def compared(path: str, suffix: str, rate: int, rounds: int) -> list[Row]:
    """Whole file, and a window."""
    whole = alternately(
        {
            "ours": lambda: (_forget(), read(path, rate=rate)),
            "soundfile": lambda: soundfile.read(path, dtype="float32"),
            "PyAV": lambda: _by_pyav(path, 0.0, SECONDS),
        },
        rounds,
    )
    window = alternately(
        {
            "ours": lambda: (_forget(), read(path, rate=rate, start=START, seconds=1.0)),
            "soundfile": lambda: soundfile.read(path, rate, round(START * rate), dtype="float32"),
            "PyAV": lambda: _by_pyav(path, START, 1.0),
        },
        rounds,
        seconds=0.2,
    )
    rows = []
    for what, took in (("whole", whole), ("a second of it", window)):
        ms = {name: 1000 * statistics.median(times) for name, times in took.items()}
        text = ", ".join(f"{name} {value:.3g} ms" for name, value in ms.items())
        for other in ("soundfile", "PyAV"):
            rows.append(Row(f"{suffix}, {what}: ours over {other}", ratio(took["ours"], took[other]), detail=text))
    return rows


def _by_pyav(path: str, start: float, seconds: float) -> np.ndarray:
    with av.open(path) as container:
        stream = container.streams.audio[0]
        if start:
            container.seek(int(start / stream.time_base), stream=stream)
        blocks = []
        for frame in container.decode(stream):
            blocks.append(frame.to_ndarray())
            if frame.time is not None and frame.time > start + seconds:
                break
    return np.concatenate(blocks, axis=1)


def _forget() -> None:
    """Clear the reader's caches."""
    for known in (ffmpeg._index, compressed._parts, mpeg._frames):
        known.cache_clear()


if __name__ == "__main__":
    main()
