"""How several channels become one, and the warning if they cancel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.audio.channels import cancelled, checked
from aasp.audio.in_memory import given_wave
from aasp.audio.io import AudioError, read
from aasp.audio.sounds import Excerpt, Ingredient, Mixture, Recording, chosen, describe, read_sound
from aasp.errors import AaspError

RATE = 16_000


def noise(channels: int, frames: int = 8_000, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(channels).standard_normal((frames, channels)).astype(np.float32)


def write(path: Path, frames_FC: np.ndarray, rate: int = RATE) -> str:
    soundfile.write(path, frames_FC, rate, subtype="FLOAT")
    return str(path)


def level(wave: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.square(wave, dtype=np.float64))))


def test_two_channels_are_averaged_to_the_bit(tmp_path: Path) -> None:
    frames = noise(2)
    np.testing.assert_array_equal(read(write(tmp_path / "a.wav", frames)), frames.mean(axis=1))


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8, 12])
def test_a_sound_in_one_of_many_channels_is_not_lost(channels: int, tmp_path: Path) -> None:
    for place in range(channels):
        frames = np.zeros((8_000, channels), np.float32)
        frames[:, place] = noise(1)[:, 0]
        fall = level(read(write(tmp_path / f"{place}.wav", frames))) - level(frames[:, place])
        assert -14 < fall < 0, (place, fall)
        assert str(tmp_path / f"{place}.wav") not in cancelled()


def test_surround_is_downmixed_by_the_standard_weights(tmp_path: Path) -> None:
    frames = noise(6)
    expected = frames @ np.array([0.5, 0.5, 0.70711, 0.35355, 0.35355, 0.35355])
    np.testing.assert_allclose(read(write(tmp_path / "a.wav", frames)), expected, atol=1e-5)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_first_a_number_and_loudest_are_that_channel(rate: int, tmp_path: Path) -> None:
    frames = noise(3, rate) * np.array([0.5, 2.0, 1.0], np.float32)
    path = write(tmp_path / "a.wav", frames, rate)
    alone = [read(write(tmp_path / f"{k}.wav", frames[:, [k]], rate)) for k in range(3)]
    for choice, place in (("first", 0), (1, 0), (2, 1), ("3", 2), ("loudest", 1), ("LOUDEST ", 1)):
        np.testing.assert_array_equal(read(path, channels=choice), alone[place])
    np.testing.assert_allclose(read(path, channels="each"), np.stack(alone), atol=1e-6)  # resampled side by side
    part = read(path, channels="each", start=0.25, seconds=0.5)
    np.testing.assert_allclose(part[1], alone[1][4_000:12_000], atol=1e-6)


def test_the_loudest_channel_is_that_of_the_whole_file(tmp_path: Path) -> None:
    frames = noise(2)
    frames[:2_000, 0] *= 3
    frames[2_000:, 1] *= 5
    part = read(write(tmp_path / "a.wav", frames), channels="loudest", start=0.0, seconds=0.1)
    np.testing.assert_array_equal(part, frames[:1_600, 1])


@pytest.mark.parametrize("choice", ["middle", "", "0", "-1", "1.5", 0, -2, True, 1.5, None])
def test_an_unknown_choice_is_refused(choice: object) -> None:
    with pytest.raises(AaspError, match="no such channels"):
        checked(choice)  # type: ignore[arg-type]


def test_a_missing_channel_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(2))
    with pytest.raises(AudioError, match=r"a\.wav: has no channel 3, only 2"):
        read(path, channels=3)


@pytest.mark.parametrize("decibels", [np.inf, 40.0, 26.0])
def test_channels_that_cancel_are_reported_once_and_counted(
    decibels: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = noise(1)[:, 0]
    right = -left * np.float32(1 - 2 * 10 ** (-decibels / 20))
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1))
    for _ in range(2):
        read(path)
    assert path in cancelled()
    assert [record.getMessage() for record in caplog.records if path in record.getMessage()] == [
        f"{path}: its channels cancel in their mean: "
        + ("silence" if decibels == np.inf else f"{cancelled()[path]:.0f} dB less than they have")
        + "; choose channels first, loudest or a number"
    ]
    for choice in ("first", "loudest", 2):
        assert level(read(path, channels=choice)) > level(left) - 3


@pytest.mark.parametrize("kind", ["silence", "uncorrelated", "one side only", "10 dB", "mono"])
def test_channels_that_do_not_cancel_are_not_reported(kind: str, tmp_path: Path) -> None:
    frames = noise(2)
    if kind == "silence":
        frames[:] = 0
    elif kind == "one side only":
        frames[:, 1] = 0
    elif kind == "10 dB":
        frames[:, 1] = -frames[:, 0] * (1 - 2 * 10**-0.5)
    elif kind == "mono":
        frames = frames[:, :1]
    path = write(tmp_path / "a.wav", frames)
    read(path)
    assert path not in cancelled()


def test_sounds_carry_their_choice(tmp_path: Path) -> None:
    frames = noise(2)
    path = write(tmp_path / "a.wav", frames)
    assert chosen(path, "mean") == [path]
    assert chosen(path, "first") == [Recording(path, "first")]
    assert chosen(path, "each") == [Recording(path, 1), Recording(path, 2)]
    assert [describe(one) for one in chosen(path, "each")] == [f"{path} channel 1", f"{path} channel 2"]
    np.testing.assert_array_equal(read_sound(Recording(path, 2)), frames[:, 1])
    (excerpt,) = chosen(Excerpt(path, 0.1, 0.2), 2)
    np.testing.assert_array_equal(read_sound(excerpt), frames[1_600:4_800, 1])
    (mixture,) = chosen(Mixture((Ingredient(path), Ingredient(path, gain_db=-20))), "first")
    np.testing.assert_allclose(read_sound(mixture), 1.1 * frames[:, 0], rtol=1e-5)
    with pytest.raises(AaspError, match="mixtures"):
        chosen(mixture, "each")


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_the_bytes_of_a_file_need_no_name(kind: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, 0.05 * np.random.default_rng(0).standard_normal(8_000), 16_000, format=kind)
    for given in (file.getvalue(), {"bytes": file.getvalue(), "path": None}):
        assert len(given_wave(given, 16_000, "the clip")) == pytest.approx(8_000, abs=1_200)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_tensor_of_any_float_or_with_gradients_is_a_clip(dtype: torch.dtype) -> None:
    wave = torch.linspace(-0.5, 0.5, 400).to(dtype).requires_grad_()
    given = given_wave({"array": wave, "sampling_rate": 16_000}, 16_000, "the clip")
    np.testing.assert_allclose(given, wave.detach().float().numpy())


@pytest.mark.parametrize("channels", [2, 3, 4, 6])
def test_an_array_of_several_channels_is_mixed_as_a_file_of_them(channels: int, tmp_path: Path) -> None:
    wave = 0.05 * np.random.default_rng(0).standard_normal((4_000, channels)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    given = given_wave({"array": wave.T, "sampling_rate": 16_000}, 16_000, "the clip")
    np.testing.assert_allclose(given, given_wave({"path": str(tmp_path / "a.wav")}, 16_000, "the clip"), atol=1e-7)
