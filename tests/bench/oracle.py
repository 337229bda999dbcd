"""What ffmpeg decodes of a file, and whether we decode the same."""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aasp.audio.io import AudioError, probe, read
from bench.case import Case
from bench.workshop import Unavailable

WINDOWS = ((0.0, 0.2), (0.31, 0.2), (0.77, 0.2))  # start and length, as shares of the whole
# Words that no remedy for a file with sound in it may contain.
DELETING = re.compile(r"\b(delete|remove|discard)\b")


@dataclass(frozen=True)
class Outcome:
    """What became of a file: "read right", "refused rightly" or "wrong", and the error."""

    verdict: str
    detail: str = ""


def ffmpeg(path: Path, *before: str) -> tuple[int, np.ndarray] | None:
    """(rate, samples (frames, channels)) as ffmpeg decodes the first stream of sound; None if it decodes none."""
    command = [
        "ffmpeg",
        "-v",
        "quiet",
        *before,
        "-i",
        f"file:{path}",
        "-map",
        "0:a:0",
        "-f",
        "wav",
        "-c:a",
        "pcm_f32le",
        "pipe:1",
    ]
    if shutil.which("ffmpeg") is None:
        raise Unavailable("ffmpeg is not installed")
    written = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=120).stdout
    begin = written.find(b"data", 12)
    if begin < 0:
        return None
    channels, rate = struct.unpack_from("<HI", written, 22)
    samples = written[begin + 8 :]
    return rate, np.frombuffer(samples[: len(samples) // (4 * channels) * 4 * channels], "<f4").reshape(-1, channels)


def judged(path: Path, case: Case, *, tools: bool = True) -> Outcome:
    """Read a case's file in every way and compare; the commands of remedies are tried if tools may be called.

    Raises:
        Unavailable: the truth comes from ffmpeg and it may not be called.
    """
    if not tools and case.truth is None and not case.refused:
        raise Unavailable("ffmpeg says what is right")
    try:
        info = probe(path)
    except AudioError as error:
        return _judged_refusal(path, case, error, tools)
    if case.refused:
        return Outcome("wrong", f"probe takes it for {info}, and it was to be refused as {case.refused!r}")
    expected = case.truth(path) if case.truth else ffmpeg(path)
    if expected is None:
        return Outcome("wrong", "read, but ffmpeg decodes nothing")
    rate, truth_FC = expected
    try:
        whole_FC = read(path, rate=rate, channels="each").T
    except AudioError as error:
        return Outcome("wrong", f"probed but not read: {error}")
    found = _differences(case, truth_FC, whole_FC)
    if abs(info.frames * rate / info.rate - len(whole_FC)) > (0 if rate == info.rate else 4):
        found.append(f"probe says {info.frames} at {info.rate} Hz and {len(whole_FC)} at {rate} Hz are read")
    found += _window_differences(path, case, whole_FC, rate)
    return Outcome("wrong", "; ".join(found)) if found else Outcome("read right")


def _judged_refusal(path: Path, case: Case, error: AudioError, tools: bool) -> Outcome:
    if not case.refused:
        return Outcome("wrong", f"refused: {error}")
    if case.refused not in error.reason:
        return Outcome("wrong", f"refused with another reason than {case.refused!r}: {error}")
    remedy = str(error).removeprefix(f"{path}: {error.reason}; ")
    if case.sound and "no sound is left" in remedy:
        return Outcome("wrong", f"says that no sound is left: {error}")
    if case.sound and DELETING.search(remedy):
        return Outcome("wrong", f"advises to delete sound: {error}")
    try:
        read(path)
        return Outcome("wrong", "refused by probe and yet read")
    except AudioError:
        pass
    return _tried(remedy, error) if tools else Outcome("refused rightly")


def _tried(remedy: str, error: AudioError) -> Outcome:
    """The commands of a remedy do what they promise: they write a file that is read."""
    command = re.search(r"((?:ffmpeg|lame|tail|head) .*)", remedy)
    if command is None:
        return Outcome("refused rightly")
    folder = Path(error.path).parent / "remedy"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    words = command[1].replace("ffmpeg ", "ffmpeg -v quiet -y ", 1).replace("lame ", "lame --silent ", 1)
    subprocess.run(words, shell=True, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    for kept in folder.iterdir():
        try:
            if len(read(kept)):
                return Outcome("refused rightly")
        except AudioError as why:
            return Outcome("wrong", f"the remedy {shlex.quote(command[1])} leaves what is not read: {why}")
    return Outcome("wrong", f"the remedy {shlex.quote(command[1])} leaves nothing")


def _differences(case: Case, truth_FC: np.ndarray, whole_FC: np.ndarray) -> list[str]:
    found = []
    if whole_FC.shape[1] != truth_FC.shape[1]:
        return [f"{whole_FC.shape[1]} channels instead of {truth_FC.shape[1]}"]
    if len(whole_FC) - len(truth_FC) not in case.longer:
        found.append(f"{len(whole_FC)} samples instead of {len(truth_FC)} ({len(whole_FC) - len(truth_FC):+d})")
    count = min(len(whole_FC), len(truth_FC))
    if count and case.tolerance is not None:
        worst = float(np.abs(whole_FC[:count] - truth_FC[:count]).max())
        if worst > case.tolerance:
            where = int(np.abs(whole_FC[:count] - truth_FC[:count]).max(axis=1).argmax())
            found.append(f"samples differ by {worst:.3g}, most at {where} of {count}")
    return found


def _window_differences(path: Path, case: Case, whole_FC: np.ndarray, rate: int) -> list[str]:
    found = []
    length = len(whole_FC) / rate
    for begin, share in WINDOWS:
        first = round(begin * length * rate)
        if first >= len(whole_FC) or round(share * length * rate) < 1:
            continue
        try:
            part_FC = read(path, rate=rate, start=begin * length, seconds=share * length, channels="each").T
        except AudioError as error:
            found.append(f"window at {begin}: {error}")
            continue
        slice_FC = whole_FC[first : first + round(share * length * rate)]
        if part_FC.shape != slice_FC.shape:
            found.append(f"window at {begin}: {part_FC.shape} instead of {slice_FC.shape}")
        elif case.window_tolerance is not None and len(part_FC):
            worst = float(np.abs(part_FC - slice_FC).max())
            if worst > case.window_tolerance:
                found.append(f"window at {begin} differs by {worst:.3g}")
    return found
