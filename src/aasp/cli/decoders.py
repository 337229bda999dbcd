"""Which sound files can be read: common formats are tried, for others ffmpeg's decoders are listed."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aasp.cli.checkup import Finding
from aasp.errors import AaspError

RATE = 48_000
TRIED = {
    "WAV": ("a.wav", None),
    "FLAC": ("a.flac", None),
    "Ogg Vorbis": ("a.ogg", None),
    "MP3": ("a.mp3", "libmp3lame"),
    "AAC in MP4": ("a.m4a", "aac"),
    "Ogg Opus": ("a.opus", "libopus"),
}
"""Formats by name: a file name, and ffmpeg's encoder; None if libsndfile writes it."""
BUILT_IN = {
    "WMA": "wmav2", "ALAC": "alac", "AMR": "amrnb", "AC-3": "ac3",
    "E-AC-3": "eac3", "DTS": "dca", "Monkey's Audio": "ape",
    "WavPack": "wavpack", "True Audio": "tta", "ADPCM": "adpcm_ms", "GSM": "gsm_ms",
}  # fmt: skip
"""Other formats, and ffmpeg's decoder for each."""


def decoders() -> Iterator[Finding]:
    """A finding for each common format, and one for the others."""
    import av
    import soundfile
    import soxr

    section = "decoders"
    sndfile = f"soundfile {importlib.metadata.version('soundfile')} with libsndfile {soundfile.__libsndfile_version__}"
    yield Finding(section, "WAV, AIFF, AU, CAF, W64, FLAC, Vorbis by", sndfile)
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavformat", "libavcodec")
    )
    yield Finding(section, "all others by", f"PyAV {importlib.metadata.version('av')} with ffmpeg's {libraries}")
    yield Finding(section, "resampled by", f"soxr {soxr.__version__}")
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, encoder) in TRIED.items():
            yield _tried(section, name, Path(folder) / file, encoder, tone)
    missing = [name for name, codec in BUILT_IN.items() if not _has(codec)]
    text = ", ".join(name for name in BUILT_IN if name not in missing)
    yield Finding(section, "also", text + (f"; not {', '.join(missing)}" if missing else ""))


def _tried(section: str, name: str, path: Path, encoder: str | None, tone: np.ndarray) -> Finding:
    """The result of writing a tone and reading it."""
    from aasp.audio.io import read

    remedy = "pip install --force-reinstall --no-deps av soundfile"
    try:
        _write(path, encoder, tone)
    except (ValueError, OSError, RuntimeError) as error:  # ffmpeg's and libsndfile's errors have these types
        return Finding(section, name, f"not tried: it can't be written here ({error})")
    try:
        wave = read(path, rate=16_000)
    except (AaspError, OSError, ValueError, RuntimeError) as error:
        return Finding(section, name, f"can't be read: {error}", remedy, True)
    spectrum = np.abs(np.fft.rfft(wave[2000:6000]))  # 4 Hz a bin
    right = len(wave) >= 7000 and 4 * int(spectrum.argmax()) == 1000 and 0.2 < np.abs(wave).max() < 1
    return Finding(section, name, "read" if right else "read wrongly", None if right else remedy, not right)


def _write(path: Path, encoder: str | None, tone: np.ndarray) -> None:
    import av
    import soundfile

    if encoder is None:
        soundfile.write(path, tone, RATE)
        return
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=RATE, layout="mono")
        wanted = stream.format.name
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=wanted, layout="mono", rate=RATE, frame_size=stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def _has(codec: str) -> bool:
    import av

    try:
        av.codec.Codec(codec, "r")
    except ValueError:
        return False
    return True
