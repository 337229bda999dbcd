"""Vorbis files that were cut, captured or converted without being encoded again: pages state other times."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio.io import probe, read
from bench.ogg_flac import checksum, pages

RATE, SECONDS = 16_000, 12


@pytest.fixture(scope="module")
def encoded() -> tuple[list[bytes], np.ndarray]:
    """The pages of a Vorbis file of noise, and the decoded samples."""
    file = io.BytesIO()
    noise = 0.3 * np.random.default_rng(0).standard_normal(SECONDS * RATE)
    soundfile.write(file, noise, RATE, format="OGG", subtype="VORBIS")
    content = file.getvalue()
    file.seek(0)
    return [content[begin:end] for begin, end in pages(content)], soundfile.read(file, dtype="float32")[0]


def position(page: bytes) -> int:
    """When a page's sound ends, in samples."""
    return struct.unpack_from("<q", page, 6)[0]


def joined(all_pages: Sequence[bytes], time: Callable[[int], int]) -> bytes:
    """Pages as a file; `time` gives their new end positions."""
    out = b""
    for number, one in enumerate(all_pages):
        page = bytearray(one)
        page[6:14] = struct.pack("<q", time(position(one)) if number > 1 else 0)
        page[18:22] = struct.pack("<I", number)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", checksum(bytes(page)))
        out += bytes(page)
    return out


def check(path: Path, samples: np.ndarray) -> None:
    """The whole file has these samples, and so has each window."""
    assert probe(path).frames == len(samples)
    whole = read(path, rate=RATE)
    np.testing.assert_allclose(whole, samples, atol=3e-6)
    for begin in np.linspace(0, len(samples) - 1_600, 23).astype(int).tolist():
        window = read(path, rate=RATE, start=begin / RATE, seconds=0.1)
        np.testing.assert_allclose(window, whole[begin : begin + 1_600], atol=1e-6)


@pytest.mark.parametrize("trimmed", [3_001, 12_032])
def test_sound_before_time_zero_is_no_part_of_a_cut_file(
    encoded: tuple[list[bytes], np.ndarray], trimmed: int, tmp_path: Path
) -> None:
    all_pages, samples = encoded
    zero = position(all_pages[4]) + trimmed
    (tmp_path / "cut.ogg").write_bytes(joined([*all_pages[:2], *all_pages[5:]], lambda at: at - zero))
    check(tmp_path / "cut.ogg", samples[zero:])


def test_a_captured_stream_begins_with_its_first_sample(
    encoded: tuple[list[bytes], np.ndarray], tmp_path: Path
) -> None:
    all_pages, samples = encoded
    (tmp_path / "captured.ogg").write_bytes(joined([*all_pages[:2], *all_pages[5:]], lambda at: at))
    found = probe(tmp_path / "captured.ogg").frames
    assert 0 <= len(samples) - position(all_pages[4]) - found <= 4_096  # the first block only prepares
    check(tmp_path / "captured.ogg", samples[-found:])


def test_times_in_milliseconds_move_no_window(encoded: tuple[list[bytes], np.ndarray], tmp_path: Path) -> None:
    all_pages, samples = encoded
    last = position(all_pages[-1])
    coarse = lambda at: at if at == last else round(at / 44.1) * 44 + 9
    (tmp_path / "converted.ogg").write_bytes(joined(all_pages, coarse))
    found, begin = probe(tmp_path / "converted.ogg").frames, position(all_pages[2]) - coarse(position(all_pages[2]))
    assert 0 <= begin < 44 and 0 <= len(samples) - found < 44  # both ends are as coarse
    check(tmp_path / "converted.ogg", samples[begin : begin + found])
