"""Opus packets counted from pages alone agree with demuxing; what pages don't show is left to demuxing."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio import ffmpeg, opus
from aasp.audio.av_file import Part


def write(path: Path, rate: int, channels: int, seconds: float) -> Path:
    wave = 0.1 * np.random.default_rng(0).standard_normal((round(rate * seconds), channels))
    soundfile.write(path, wave, rate, format="OGG", subtype="OPUS")
    return path


def counted(path: Path) -> opus.Packets | None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return opus.packets(content, 0, len(content))


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(16_000, 1, 3.21), (48_000, 2, 1.5), (8_000, 1, 0.03)])
def test_pages_give_the_same_counts_as_demuxing(
    rate: int, channels: int, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.opus", rate, channels, seconds)
    found = counted(path)
    assert found is not None and (found.channels, found.rate) == (channels, rate)
    assert found.produced[-1] == round(48_000 * seconds)
    monkeypatch.setattr(opus, "packets", lambda *_: None)
    ffmpeg._index.cache_clear()
    demuxed = ffmpeg.index(Part(str(path), "ogg"))
    ffmpeg._index.cache_clear()
    np.testing.assert_array_equal(found.produced, demuxed.produced)
    np.testing.assert_array_equal(found.times, demuxed.times)


def test_pages_that_are_missing_or_cut_are_left_to_demuxing(tmp_path: Path) -> None:
    content = write(tmp_path / "a.opus", 16_000, 1, 6.0).read_bytes()
    pages = [place.start() for place in re.finditer(b"OggS", content)]
    assert len(pages) >= 6
    without = content[: pages[3]] + content[pages[4] :]
    later = content[: pages[2]] + content[pages[3] :]  # the first page of sound is gone
    for name, spoilt in (("hole", without), ("later", later), ("cut", content[: pages[-1]]), ("short", content[:-5])):
        path = tmp_path / f"{name}.opus"
        path.write_bytes(spoilt)
        assert counted(path) is None, name


@pytest.mark.parametrize(
    ("packet", "expected"),
    [(b"", 0), (b"\x00", 480), (b"\x19", 2 * 2880), (b"\x60", 480), (b"\x9b\x03", 3 * 960), (b"\xe3", 0)],
)
def test_samples_of_a_packet(packet: bytes, expected: int) -> None:
    """By RFC 6716, table 2, and the frame count of its codes 0 to 3."""
    assert opus.samples(packet) == expected
