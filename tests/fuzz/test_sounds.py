"""Untrusted sound files, with changes in their structure."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp.audio.io import probe, read
from fuzz.cases import right_or_one_line, spoilt

FUZZ = settings.get_profile("fuzz")
KINDS = ("wav", "aiff", "flac", "ogg", "mp3", "m4a")
SECONDS = 0.1


@cache
def whole(kind: str) -> bytes:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(16_000 * SECONDS)).astype(np.float32)
    file = io.BytesIO()
    if kind != "m4a":
        soundfile.write(file, noise, 16_000, format={"m4a": "", "mp3": "MP3"}.get(kind, kind.upper()))
        return file.getvalue()
    with av.open(file, "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


@st.composite
def structured(draw: st.DrawFn, content: bytes) -> bytes:
    """False sizes and counts: a number of the header, of any width and byte order, is changed."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.sampled_from([1, 2, 3, 4, 8]))
        place = draw(st.integers(0, min(400, len(made)) - width))
        number = draw(st.one_of(st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1, 2**36 - 1]), st.integers(0, 2**64 - 1)))
        order = draw(st.sampled_from(["big", "little"]))
        made[place : place + width] = (number % 2 ** (8 * width)).to_bytes(width, order)
    return bytes(made)


files = st.sampled_from(KINDS).flatmap(
    lambda kind: st.tuples(st.just(kind), st.one_of(spoilt(whole(kind)), structured(whole(kind))))
)


@FUZZ
@given(file=files)
def test_a_sound(tmp_path_factory: pytest.TempPathFactory, file: tuple[str, bytes]) -> None:
    kind, content = file
    path = tmp_path_factory.getbasetemp() / f"fuzzed.{kind}"
    path.write_bytes(content)
    header = right_or_one_line(lambda: probe(path))
    wave = right_or_one_line(lambda: read(path))
    if header is not None and wave is not None:
        assert wave.dtype == np.float32 and np.isfinite(wave).all()
        assert len(wave) == pytest.approx(header.seconds * 16_000, abs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unchanged_file_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"whole.{kind}"
    path.write_bytes(whole(kind))
    assert len(read(path)) == pytest.approx(16_000 * SECONDS, abs=2_500)
