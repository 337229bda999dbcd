"""Decoding, resampling, windows, and every way in which a file can be bad."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio.io import EXTENSIONS, AudioError, AudioInfo, probe, read
from aasp.errors import AaspError

SECONDS = 1.5
HZ = 440.0
# name, rate, channels, soundfile's settings: the rates are odd on purpose where the codec allows.
KINDS = {
    "wav": ("a.wav", 22_051, 2, {"subtype": "PCM_16"}),
    "wav-float": ("f.wav", 96_000, 1, {"subtype": "FLOAT"}),
    "flac": ("a.flac", 44_100, 3, {}),
    "vorbis": ("a.ogg", 11_025, 2, {"format": "OGG", "subtype": "VORBIS"}),
    "opus": ("a.opus", 48_000, 2, {"format": "OGG", "subtype": "OPUS"}),
    "opus-16k": ("b.opus", 16_000, 1, {"format": "OGG", "subtype": "OPUS"}),
    "mp3": ("a.mp3", 32_000, 2, {}),
}


def tone(rate: int, channels: int, seconds: float = SECONDS) -> np.ndarray:
    """A tone whose channels differ in level, with a little noise: (samples, channels)."""
    noise = 0.01 * np.random.default_rng(0).standard_normal(round(seconds * rate))
    wave = 0.4 * np.sin(2 * np.pi * HZ * np.arange(round(seconds * rate)) / rate) + noise
    return wave[:, None] * np.linspace(1.0, 0.5, channels)


@pytest.fixture(params=KINDS)
def sound(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, rate, channels, settings = KINDS[request.param]
    soundfile.write(tmp_path / name, tone(rate, channels), rate, **settings)
    return tmp_path / name


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tone.wav", tone(16_000, 1), 16_000)
    return tmp_path / "tone.wav"


def kind_of(path: Path) -> tuple[int, int]:
    return next((rate, channels) for name, rate, channels, _ in KINDS.values() if name == path.name)


def test_probe_reads_length_rate_and_channels(sound: Path) -> None:
    rate, channels = kind_of(sound)
    assert probe(sound) == AudioInfo(str(sound), round(SECONDS * rate) / rate, rate, channels, round(SECONDS * rate))


@pytest.mark.parametrize("rate", [16_000, 8_000, 44_100])
def test_a_tone_survives_in_pitch_length_and_level(sound: Path, rate: int) -> None:
    wave = read(sound, rate=rate)
    assert wave.dtype == np.float32
    assert wave.flags.c_contiguous
    assert abs(len(wave) - SECONDS * rate) <= 1 + rate / kind_of(sound)[0]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert np.argmax(spectrum) * rate / len(wave) == pytest.approx(HZ, abs=rate / len(wave))
    channels = kind_of(sound)[1]
    weight = {1: 1, 2: 1 / 2, 3: 1 / np.sqrt(6)}[channels]
    level = 0.4 * weight * np.linspace(1.0, 0.5, channels).sum() / np.sqrt(2)
    assert np.sqrt(np.mean(wave[rate // 10 : -rate // 10] ** 2)) == pytest.approx(level, rel=0.03)


@pytest.mark.parametrize("rate", [16_000, 22_050, None])
@pytest.mark.parametrize(("start", "seconds"), [(0.0, 0.25), (0.7003, 0.5), (1.2, 0.3), (1.2, 5.0), (0.9, None)])
def test_a_window_is_the_slice_of_the_whole(sound: Path, rate: int | None, start: float, seconds: float | None) -> None:
    native = kind_of(sound)[0]
    rate = rate or native
    whole, part = read(sound, rate=rate), read(sound, rate=rate, start=start, seconds=seconds)
    first = round(start * rate)
    expected = whole[first:] if seconds is None else whole[first : first + round(seconds * rate)]
    assert len(part) == len(expected)
    lossless = sound.suffix in (".wav", ".flac")
    tolerance = 0.0 if lossless and rate == native else 1e-6 if lossless else 5e-3
    assert np.abs(part - expected).max() <= tolerance


def test_a_window_within_a_file_has_exactly_the_requested_samples(sound: Path) -> None:
    for start in np.linspace(0, 1.0, 7):
        assert len(read(sound, start=float(start), seconds=0.4321)) == round(0.4321 * 16_000)


def test_channels_are_averaged_exactly(tmp_path: Path) -> None:
    left, right = np.random.default_rng(1).uniform(-0.9, 0.9, (2, 800)).astype(np.float32)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "s.wav"), (left + right) / 2)


def test_downsampling_leaves_nothing_above_the_new_nyquist(tmp_path: Path) -> None:
    high = 0.5 * np.sin(2 * np.pi * 11_000 * np.arange(44_100) / 44_100)
    soundfile.write(tmp_path / "high.wav", high, 44_100, subtype="FLOAT")
    assert np.abs(read(tmp_path / "high.wav")[1000:-1000]).max() < 1e-4


def test_a_ten_millisecond_file_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", tone(44_100, 1, 0.01), 44_100)
    assert len(read(tmp_path / "short.wav")) == 160


def test_extensions_are_those_of_the_formats() -> None:
    assert {Path(name).suffix for name, *_ in KINDS.values()} <= EXTENSIONS


def check(path: Path, reason: str, *, probed: bool = True) -> None:
    """`read`, and `probe` where the header shows it, refuse the file in one line with name, reason and remedy."""
    for refused in [read, probe] if probed else [read]:
        with pytest.raises(AudioError) as caught:
            refused(path)
        assert caught.value.path == str(path)
        assert reason in caught.value.reason
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "; " in message and "\n" not in message
        assert isinstance(caught.value, AaspError)


def test_missing(tmp_path: Path) -> None:
    check(tmp_path / "nothing.wav", "no such file")


def test_a_folder(tmp_path: Path) -> None:
    check(tmp_path, "is a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_no_permission(wav: Path) -> None:
    wav.chmod(0)
    check(wav, "unreadable")


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_empty(tmp_path: Path, extension: str) -> None:
    (tmp_path / f"x{extension}").touch()
    check(tmp_path / f"x{extension}", "empty file")


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
@pytest.mark.parametrize("content", [b"this is a letter, not a sound\n" * 50, bytes(5000)], ids=["text", "zeros"])
def test_not_audio(tmp_path: Path, extension: str, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"x{extension}").write_bytes(content)
    check(tmp_path / f"x{extension}", "not audio")
    assert capfd.readouterr().err == ""  # libmpg123 would write notes of its own


def test_mislabelled(wav: Path) -> None:
    for extension in EXTENSIONS - {".wav", ".wave", ".bwf", ".rf64"}:
        check(wav.rename(wav.with_suffix(extension)), "holds WAV")
        wav.with_suffix(extension).rename(wav)


def test_truncated(sound: Path) -> None:
    content = sound.read_bytes()
    for share in (0.99, 0.9, 0.5) if sound.suffix != ".mp3" else (0.5,):
        sound.write_bytes(content[: round(share * len(content))])
        check(sound, "truncated")


def test_a_whole_window_of_a_truncated_flac_is_refused_only_beyond_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(16_000, 1, 4.0), 16_000)
    whole = read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    np.testing.assert_array_equal(read(path, start=0.5, seconds=0.5), whole[8_000:16_000])
    with pytest.raises(AudioError, match="truncated"):
        read(path, start=3.0, seconds=0.5)


def test_a_tag_after_the_last_page_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, tone(16_000, 1), 16_000, format="OGG", subtype="VORBIS")
    whole = read(path)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    np.testing.assert_array_equal(read(path), whole)


@pytest.mark.parametrize("seconds", [0.3, 1.9, 2.3])
def test_windows_in_the_last_page_of_vorbis_are_in_their_place(seconds: float, tmp_path: Path) -> None:
    """libsndfile alone seeks some hundred samples too far there, and returns other sound without an error."""
    path = tmp_path / "a.ogg"
    wave = 0.2 * np.random.default_rng(0).standard_normal(round(16_000 * seconds) + 77)
    soundfile.write(path, wave, 16_000, format="OGG", subtype="VORBIS")
    whole = read(path)
    for begin in range(0, len(whole) - 256, 211):
        part = read(path, start=begin / 16_000, seconds=256 / 16_000)
        np.testing.assert_allclose(part, whole[begin : begin + 256], atol=1e-3, err_msg=str(begin))


def test_a_streamed_wav_without_a_length_is_whole(wav: Path) -> None:
    whole = read(wav)
    content = bytearray(wav.read_bytes())
    for unknown in (0xFFFFFFFF, 0x7FFFFFFF):
        content[4:8] = content[40:44] = struct.pack("<I", unknown)
        wav.write_bytes(content)
        np.testing.assert_array_equal(read(wav), whole)


def test_a_streamed_flac_without_a_length_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(16_000, 1), 16_000)
    whole = read(path)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert probe(path).frames == len(whole)
    np.testing.assert_array_equal(read(path), whole)
    np.testing.assert_array_equal(read(path, start=0.9, seconds=0.3), whole[14_400:19_200])


def test_zero_length(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "x.ogg", np.zeros(0), 16_000)
    check(tmp_path / "x.wav", "zero length")
    check(tmp_path / "x.ogg", "zero length")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    wave = tone(16_000, 1)
    wave[5_000] = bad
    soundfile.write(tmp_path / "x.wav", wave, 16_000, subtype="FLOAT")
    check(tmp_path / "x.wav", "NaN or infinite", probed=False)
    assert len(read(tmp_path / "x.wav", start=0.5, seconds=0.5)) == 8_000  # a window without them is sound


def test_zero_hertz(wav: Path) -> None:
    content = bytearray(wav.read_bytes())
    content[24:28] = bytes(4)
    wav.write_bytes(content)
    check(wav, "0 Hz")


def test_a_window_outside_the_file(wav: Path) -> None:
    with pytest.raises(AudioError, match=r"window at 1\.5 s is outside its 1\.5 s"):
        read(wav, start=1.5, seconds=0.1)


@pytest.mark.parametrize("window", [{"rate": 0}, {"rate": -1}, {"start": -0.1}, {"seconds": 0.0}])
def test_an_impossible_window_is_refused(wav: Path, window: dict[str, float]) -> None:
    with pytest.raises(AaspError, match="no such window"):
        read(wav, **window)  # type: ignore[arg-type]
