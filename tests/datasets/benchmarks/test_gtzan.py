"""GTZAN: the fault-filtered lists, and the file that is known to be damaged."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from aasp.datasets.benchmarks.gtzan import CLASSES, GTZAN
from aasp.errors import AaspError

FILES = ["blues/blues.00029.wav", "jazz/jazz.00054.wav", "blues/blues.00000.wav", "rock/rock.00010.wav"]


@pytest.fixture
def lists(list_of: Callable[[str, str], None]) -> None:
    list_of("train_filtered.txt", "\n".join(FILES[:2]) + "\n")
    list_of("valid_filtered.txt", FILES[2] + "\n")
    list_of("test_filtered.txt", FILES[3])


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("folder", ["genres/", "genres_original/", ""])
def test_a_copy(plant, folder: str) -> None:
    root = plant(*(f"{folder}{file}" for file in [*FILES, "pop/pop.00001.wav"]))
    found = GTZAN.open(root)
    assert [os.path.relpath(str(path), root / folder) for path in found.sounds] == FILES, "pop.00001 is not listed"
    assert found.labels == [("blues",), ("jazz",), ("blues",), ("rock",)]
    assert found.parts == ["train", "train", "valid", "test"]
    assert found.classes == CLASSES and found.groups is None and not found.missing
    assert "part valid: 1 clips, published 197" in found.notes
    assert sum(GTZAN.counts.values()) == 930


@pytest.mark.usefixtures("lists")
def test_the_damaged_file_is_left_out_and_noted(plant) -> None:
    root = plant(*(f"genres/{file}" for file in FILES))
    (root / "genres" / FILES[1]).write_bytes(b"no sound at all")
    found = GTZAN.open(root)
    assert len(found) == 3 and not any("jazz" in str(path) for path in found.sounds)
    assert [clip.path for clip in found.missing] == [str(root / "genres" / FILES[1])]
    assert "not audio" in found.missing[0].reason
    assert any("jazz.00054" in note for note in found.notes)


@pytest.mark.usefixtures("lists")
def test_missing_clips(plant) -> None:
    found = GTZAN.open(plant(f"genres/{FILES[0]}", f"genres/{FILES[3]}"))
    assert [os.path.basename(clip.path) for clip in found.missing] == ["jazz.00054.wav", "blues.00000.wav"]


@pytest.mark.usefixtures("lists")
def test_a_damaged_list_is_one_line(plant, list_of) -> None:
    list_of("test_filtered.txt", "rock/rock.00010.wav\npolka/polka.00000.wav\n")
    with pytest.raises(AaspError, match=r"test_filtered\.txt, line 2: not GENRE/FILE .*: polka/polka\.00000\.wav"):
        GTZAN.open(plant(f"genres/{FILES[0]}"))


def test_a_wrong_root(plant) -> None:
    with pytest.raises(AaspError, match=r"no such file: .*train_filtered\.txt"):
        GTZAN.open(plant(f"genres/{FILES[0]}"))
