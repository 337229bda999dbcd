"""MP3 files as streaming encoders and taggers leave them, made with libsndfile's encoder alone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio.error import salvage
from aasp.audio.io import AudioError, probe, read
from bench.mp3 import bare, frames_of, id3

RATE = 44_100


def encoded(wave: np.ndarray, rate: int = RATE, *, variable: bool) -> bytes:
    """Frames without the Xing or Info header that states their number."""
    file = io.BytesIO()
    mode = "VARIABLE" if variable else "CONSTANT"
    soundfile.write(file, wave, rate, format="MP3", bitrate_mode=mode, compression_level=0.3)
    return bare(file.getvalue())


@pytest.fixture(scope="module")
def loud_and_soft() -> tuple[np.ndarray, np.ndarray]:
    count = 5 * RATE
    loud = np.clip(0.5 * np.random.default_rng(0).standard_normal(count), -1, 1)
    return loud, 0.003 * np.sin(np.arange(count) / 20)


@pytest.mark.parametrize("order", ["loud, then soft", "soft, then loud"])
def test_variable_bitrate_without_a_count_is_read_to_its_end(
    order: str, loud_and_soft: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    loud, soft = loud_and_soft
    content = encoded(np.r_[loud, soft, soft] if order.startswith("loud") else np.r_[soft, loud, loud], variable=True)
    path = tmp_path / "x.mp3"
    path.write_bytes(content)
    frames = len(frames_of(content))
    assert len({b - a for a, b in zip(frames_of(content), frames_of(content)[1:], strict=False)}) > 3
    wave = read(path, rate=RATE)
    assert probe(path).frames == len(wave) == 1152 * frames
    assert abs(len(wave) / RATE - 15) < 0.1
    levels = [float(np.sqrt(np.mean(wave[a * RATE : (a + 4) * RATE] ** 2))) for a in (0, 6, 11)]
    expected = (0.47, 0.002, 0.002) if order.startswith("loud") else (0.002, 0.47, 0.47)
    assert levels == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("kilobytes", [0, 4, 20, 100, 500])
@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_cover_picture_loses_no_sound(kilobytes: int, version: int, tmp_path: Path) -> None:
    content = encoded(0.1 * np.random.default_rng(0).standard_normal(2 * RATE), variable=False)
    (tmp_path / "bare.mp3").write_bytes(content)
    (tmp_path / "tagged.mp3").write_bytes((id3(1000 * kilobytes, version) if kilobytes else b"") + content)
    np.testing.assert_array_equal(read(tmp_path / "tagged.mp3"), read(tmp_path / "bare.mp3"))
    assert probe(tmp_path / "tagged.mp3").frames == 1152 * len(frames_of(content))


def test_a_change_of_channels_is_seen_by_probe(tmp_path: Path) -> None:
    tone = 0.1 * np.sin(np.arange(RATE) / 9)
    content = encoded(tone, variable=True) + encoded(np.stack([tone, tone], 1), variable=True)
    (tmp_path / "x.mp3").write_bytes(content)
    with pytest.raises(AudioError, match=r"channels change at 1\.\d\d s; cut it there into files"):
        probe(tmp_path / "x.mp3")


def test_no_remedy_deletes_a_file_with_sound() -> None:
    folder = Path(__file__).parents[2] / "src" / "aasp" / "audio"
    advice = re.compile(r"\b(delete|remove)\b")
    lines = [line.strip() for path in folder.glob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if advice.search(line) and "empty file" not in line] == []


@pytest.mark.parametrize("name", ["two words.wav", "it's.wav", "-dash.wav", "a:b.wav"])
def test_the_command_of_a_remedy_takes_any_name(name: str) -> None:
    import shlex

    words = shlex.split(salvage(name).partition("of it: ")[2])
    assert words[0] == "ffmpeg" and words[3:] == ["kept.wav"]
    assert words[2].removeprefix("./") == name and not words[2].startswith("-") and not words[2].startswith("a:")


def test_a_channel_of_a_balanced_line_can_be_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tone = 0.3 * np.sin(np.arange(2 * RATE) / 10)
    path = tmp_path / "balanced.mp3"
    path.write_bytes(encoded(np.stack([tone, -tone], 1), variable=True))
    assert np.sqrt(np.mean(read(path) ** 2)) < 0.01
    assert "balanced.mp3: its channels cancel" in caplog.text
    for choice in ("first", 2, "loudest"):
        assert np.sqrt(np.mean(read(path, channels=choice) ** 2)) == pytest.approx(0.21, abs=0.01)


def test_windows_of_the_lowest_rate_have_their_bit_reservoir(tmp_path: Path) -> None:
    """At 8 kbit/s a frame has eleven bytes or so, and its bits may begin 255 bytes earlier."""
    path, seconds = tmp_path / "low.mp3", np.arange(22_050 * 4) / 22_050
    wave = 0.3 * np.random.default_rng(0).standard_normal(len(seconds)) * (np.sin(2 * np.pi * 0.4 * seconds) > 0)
    settings = {"subtype": "MPEG_LAYER_III", "compression_level": 0.99, "bitrate_mode": "CONSTANT"}
    soundfile.write(path, wave, 22_050, format="MP3", **settings)
    assert path.stat().st_size < 8_200 * 4 / 8, "the lowest rate"
    whole = read(path, rate=22_050)
    for begin in range(0, len(whole) - 512, 4_000):
        part = read(path, rate=22_050, start=begin / 22_050, seconds=512 / 22_050)
        np.testing.assert_allclose(part, whole[begin : begin + 512], atol=1e-3)
