"""Sound files made to order with ffmpeg, sox and lame, each kept so that many cases can begin with it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SECONDS = 1.1
COVER = "-f lavfi -i testsrc=s=320x240:d=0.04 -map 0 -map 1 -c:v png -frames:v 1 -disposition:v attached_pic"
"""ffmpeg's options for a picture beside the sound."""


class Unavailable(Exception):
    """The tool that writes such a file is not on this machine, or was built without its codec."""


def wave(rate: int, channels: int, seconds: float = SECONDS) -> np.ndarray:
    """Two tones, noise and a loud half, other ones in each channel: float64 (samples, channels) within 0.7."""
    count = max(1, round(seconds * rate))
    time_F = np.arange(count) / rate
    random = np.random.default_rng(channels)
    out_FC = np.empty((count, channels))
    for channel in range(channels):
        low = 0.3 * np.sin(2 * np.pi * (220 + 90 * channel) * time_F)
        high = 0.1 * np.sin(2 * np.pi * 0.11 * rate * time_F + channel)
        out_FC[:, channel] = low + high + 0.05 * random.standard_normal(count).clip(-4, 4)
    out_FC[count // 2 :] *= 0.3
    return out_FC


class Workshop:
    """A folder of made files, which several processes may share.

    Args:
        folder: where they are kept.
        tools: whether programs may be called; without them only libsndfile and PyAV write files.
    """

    def __init__(self, folder: Path, *, tools: bool = True) -> None:
        self._folder, self.tools = folder, tools
        folder.mkdir(parents=True, exist_ok=True)

    def source(self, rate: int = 44_100, channels: int = 2, seconds: float = SECONDS, subtype: str = "PCM_16") -> Path:
        """A WAV file to encode."""
        name = f"source-{rate}-{channels}-{seconds}-{subtype}.wav"
        return self._kept(name, lambda path: soundfile.write(path, wave(rate, channels, seconds), rate, subtype))

    def sndfile(self, extension: str, rate: int = 44_100, channels: int = 2, seconds: float = SECONDS, **how) -> bytes:
        """A file that libsndfile writes."""
        file = io.BytesIO()
        how.setdefault("format", extension.upper())
        soundfile.write(file, wave(rate, channels, seconds), rate, **how)
        return file.getvalue()

    def ffmpeg(self, extension: str, options: str = "", source: Path | None = None, before: str = "") -> bytes:
        """A file that ffmpeg writes."""
        arguments = ["-i", str(source or self.source()), *options.split()]
        return self._made(["ffmpeg", "-v", "error", "-y", *before.split(), *arguments, "-bitexact", "OUT"], extension)

    def piped(self, kind: str, options: str = "", source: Path | None = None) -> bytes:
        """What ffmpeg writes where it can't go back to fill in a length."""
        command = ["ffmpeg", "-v", "error", "-i", str(source or self.source()), *options.split(), "-f", kind, "pipe:1"]
        return self._made(command, kind, to_pipe=True)

    def sox(self, extension: str, options: str = "", source: Path | None = None) -> bytes:
        arguments = [str(source or self.source()), *options.split()]
        return self._made(["sox", "-D", "-V1", *arguments, "OUT"], extension)

    def lame(self, options: str = "", source: Path | None = None) -> bytes:
        return self._made(["lame", "--silent", *options.split(), str(source or self.source()), "OUT"], "mp3")

    def tool(self, name: str, options: str, extension: str, source: Path | None = None) -> bytes:
        """A file of any other encoder; IN and OUT stand for the files in its options."""
        arguments = [str(source or self.source()) if word == "IN" else word for word in options.split()]
        return self._made([name, *arguments], extension, to_pipe="OUT" not in arguments)

    def _made(self, command: Sequence[str], extension: str, to_pipe: bool = False) -> bytes:
        if not self.tools or shutil.which(command[0]) is None:
            raise Unavailable(f"{command[0]} is not installed")
        key = hashlib.sha256("\0".join([*command, extension]).encode()).hexdigest()[:24]

        def make(path: Path) -> None:
            ours = [str(path) if word == "OUT" else word for word in command]
            done = subprocess.run(ours, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
            if to_pipe and not done.returncode:
                path.write_bytes(done.stdout)
            if done.returncode or not path.exists() or not path.stat().st_size:
                reason = done.stderr.decode(errors="replace").strip().splitlines()
                path.unlink(missing_ok=True)
                raise Unavailable(f"{' '.join(command)}: {reason[-1] if reason else 'wrote nothing'}")

        return self._kept(f"{key}.{extension}", make).read_bytes()

    def _kept(self, name: str, make) -> Path:
        path = self._folder / name
        if not path.exists():
            beside = self._folder / f"{os.getpid()}-{name}"
            make(beside)
            beside.replace(path)
        return path
