"""Channels chosen for a whole set, or file by file in its index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio.sounds import Recording, describe, read_sound
from aasp.datasets.benchmarks.open import open_labelled
from aasp.datasets.manifest import Manifest, scan
from aasp.errors import AaspError


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    for name in "abc":
        frames = 0.1 * np.random.default_rng(ord(name)).standard_normal((8_000, 2))
        soundfile.write(tmp_path / f"{name}.wav", frames, 16_000, subtype="FLOAT")
    return tmp_path


def index(folder: Path, *rows: str) -> Path:
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder / "index.csv"


def test_a_set_is_read_with_one_choice(stereo: Path) -> None:
    manifest, _ = Manifest.open(stereo, channels="2")
    assert [manifest.sound(row) for row in range(3)] == [Recording(str(stereo / f"{name}.wav"), 2) for name in "abc"]
    frames, _ = soundfile.read(stereo / "b.wav", dtype="float32")
    np.testing.assert_array_equal(read_sound(manifest.sound(1)), frames[:, 1])
    assert Manifest.open(stereo)[0].sound(0) == str(stereo / "a.wav")


def test_each_channel_is_a_row(stereo: Path) -> None:
    manifest, _ = Manifest.open(stereo, channels="each")
    names = [describe(manifest.sound(row)) for row in range(len(manifest))]
    assert names == [f"{stereo / name}.wav channel {number}" for name in "abc" for number in (1, 2)]
    assert manifest.total_hours == pytest.approx(3 * 2 * 0.5 / 3600)


@pytest.mark.parametrize("column", ["channel", "channels"])
def test_a_row_may_choose_its_channel(column: str, stereo: Path) -> None:
    path = index(stereo, f"path,seconds,{column}", "a.wav,0.5,first", "b.wav,0.5,", "c.wav,0.5,each")
    manifest, _ = Manifest.open(path, channels="loudest")
    chosen = [manifest.sound(row).channels for row in range(len(manifest))]  # type: ignore[union-attr]
    assert chosen == ["first", "loudest", 1, 2]


@pytest.mark.parametrize("second", ["", " ", "mean", "Mean"])
def test_a_column_without_a_choice_is_the_mean(second: str, stereo: Path) -> None:
    path = index(stereo, "path,seconds,channel", "a.wav,0.5,", f"b.wav,0.5,{second}")
    manifest, _ = Manifest.open(path)
    assert [manifest.sound(row) for row in range(2)] == manifest.names.to_pylist() == manifest.paths


def test_numbers_of_channels_are_no_choice_but_where_others_are(stereo: Path) -> None:
    scan(stereo)[0].write_csv(stereo / "index.csv")
    assert Manifest.open(stereo / "index.csv")[0].sound(0) == str(stereo / "a.wav")
    path = index(stereo, "path,channels", "a.wav,2", "b.wav,mean", "c.wav,1")
    manifest, _ = Manifest.open(path)
    assert [manifest.sound(row) for row in range(3)] == [
        Recording(str(stereo / "a.wav"), 2),
        str(stereo / "b.wav"),
        Recording(str(stereo / "c.wav"), 1),
    ]


def test_a_row_that_names_no_choice(stereo: Path) -> None:
    path = index(stereo, "path,channel", "a.wav,first", "b.wav,left")
    with pytest.raises(AaspError, match=r"index\.csv, column channel, row 2: no such channels: left"):
        Manifest.open(path)


def test_labelled_clips_have_their_channels(stereo: Path) -> None:
    path = index(stereo, "path,label,split,channel", "a.wav,x,train,2", "b.wav,y,train,each", "c.wav,x,test,")
    found = open_labelled(index=path, label="label", split="split", channels="first")
    assert [sound.channels for sound in found.sounds] == [2, 1, 2, "first"]  # type: ignore[union-attr]
    assert list(found.labels) == [("x",), ("y",), ("y",), ("x",)]
    assert list(found.parts) == ["train", "train", "train", "test"]
    assert found.groups is not None
    assert len(set(found.groups)) == 3  # the channels of one file are drawn, and kept, together
