"""Sounds that are a part of a file, or files mixed as they are read, against plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio.io import AudioError, read
from aasp.audio.sounds import Excerpt, Ingredient, Mixture, describe, duration, files, read_sound

RATE = 16_000


@pytest.fixture
def noise(tmp_path: Path):
    """Writes noise and returns its path."""

    def write(name: str, seed: int, samples: int = RATE, rate: int = RATE) -> str:
        wave = np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)
        soundfile.write(tmp_path / name, wave, rate, subtype="FLOAT")
        return str(tmp_path / name)

    return write


def test_an_excerpt_is_a_slice_of_its_file(noise) -> None:
    path = noise("a.wav", 0)
    whole = read(path)
    excerpt = Excerpt(path, 0.25, 0.5)
    assert np.array_equal(read_sound(excerpt), whole[4000:12000])
    assert duration(excerpt) == 0.5
    assert files(excerpt) == (path,)
    assert describe(excerpt) == f"{path} at 0.25 s"


@pytest.mark.parametrize("start", [0.0, 0.00003, 0.1, 0.3])
@pytest.mark.parametrize("seconds", [None, 0.05, 0.4])
def test_a_part_of_an_excerpt_ends_with_it(noise, start: float, seconds: float | None) -> None:
    # 0.00003 s is half a sample: the two starts are rounded one by one, as in slicing a slice
    excerpt = Excerpt(noise("a.wav", 0), 0.25003, 0.4)
    whole = read_sound(excerpt)
    assert len(whole) == 6400
    first = round(start * RATE)
    wanted = whole[first:] if seconds is None else whole[first : first + round(seconds * RATE)]
    assert np.array_equal(read_sound(excerpt, start=start, seconds=seconds), wanted)


def test_an_excerpt_of_a_file_at_another_rate(noise) -> None:
    path = noise("a.wav", 0, 44_100, 44_100)
    assert np.allclose(read_sound(Excerpt(path, 0.25, 0.5)), read(path)[4000:12000], atol=1e-6)


def test_a_mixture_is_scaled_turned_about_and_added(noise) -> None:
    first, second = noise("a.wav", 1), noise("b.wav", 2)
    mixture = Mixture((Ingredient(first, -6.0, 0.25), Ingredient(second, 3.0)))
    turned = np.concatenate([read(first)[-4000:], read(first)[:-4000]])
    wanted = turned * 10 ** (-6 / 20) + read(second) * 10 ** (3 / 20)
    assert np.allclose(read_sound(mixture), wanted, atol=1e-6)
    assert read_sound(mixture).dtype == np.float32
    assert np.abs(read_sound(mixture)).max() > 0.9, "nothing is scaled back"
    assert duration(mixture) == 1.0
    assert files(mixture) == (first, second)
    assert describe(mixture) == f"{first} + {second}"


@pytest.mark.parametrize("offset", [1.0, 2.25, -0.75])
def test_an_offset_wraps_around(noise, offset: float) -> None:
    path = noise("a.wav", 1)
    plain = read_sound(Mixture((Ingredient(path, 0.0, offset % 1.0),)))
    assert np.array_equal(read_sound(Mixture((Ingredient(path, 0.0, offset),))), plain)


def test_a_mixture_is_as_long_as_its_longest_file(noise) -> None:
    long, short = noise("a.wav", 1), noise("b.wav", 2, 4000)
    mixed = read_sound(Mixture((Ingredient(long), Ingredient(short, 0.0, 0.125))))
    wanted = read(long)
    wanted[:4000] += np.roll(read(short), 2000)  # turned about within its own length
    assert np.allclose(mixed, wanted)
    assert duration(Mixture((Ingredient(long), Ingredient(short)))) == 1.0


@pytest.mark.parametrize(("start", "seconds"), [(0.0, 0.3), (0.3, None), (0.3, 0.3), (0.9, 5.0)])
def test_a_window_is_a_slice_of_the_whole_sound(noise, start: float, seconds: float | None) -> None:
    path = noise("a.wav", 1)
    for sound in (path, Excerpt(path, 0.0, 1.0), Mixture((Ingredient(path, -3.0, 0.4), Ingredient(path)))):
        whole = read_sound(sound)
        first = round(start * RATE)
        wanted = whole[first:] if seconds is None else whole[first : first + round(seconds * RATE)]
        assert np.array_equal(read_sound(sound, start=start, seconds=seconds), wanted)


@pytest.mark.parametrize("start", [1.0, 3.0])
def test_a_window_outside_is_refused_by_name(noise, start: float) -> None:
    path = noise("a.wav", 1)
    for sound in (path, Excerpt(path, 0.0, 1.0), Mixture((Ingredient(path), Ingredient(path)))):
        with pytest.raises(AudioError, match=r"a\.wav.*window at . s is outside its 1 s") as error:
            read_sound(sound, start=start, seconds=0.1)
        assert "\n" not in str(error.value)
    for sound in (Excerpt(path, 0.5, 0.4), Mixture((Ingredient(path),))):
        with pytest.raises(AudioError, match="outside"):
            read_sound(sound, start=-0.25)


def test_errors_name_the_file(noise, tmp_path: Path) -> None:
    good, absent = noise("a.wav", 1), str(tmp_path / "absent.wav")
    for sound in (absent, Excerpt(absent, 0.0, 1.0), Mixture((Ingredient(good), Ingredient(absent)))):
        with pytest.raises(AudioError, match="no such file") as error:
            read_sound(sound)
        assert error.value.path == absent
    with pytest.raises(AudioError, match="no such file"):
        duration(Mixture((Ingredient(good), Ingredient(absent))))
    with pytest.raises(AudioError, match=r"a\.wav.*outside its 1 s"):
        read_sound(Excerpt(good, 2.0, 1.0))
