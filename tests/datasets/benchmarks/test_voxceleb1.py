"""VoxCeleb1: the identification split over one folder or two."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aasp.datasets.benchmarks.voxceleb1 import VOXCELEB1
from aasp.errors import AaspError

LIST = """1 id10003/na8-QEFmj44/00003.wav
2 id10003/tCq2LcKO6xY/00001.wav
3 id10003/xM5zGDoSkXk/00001.wav
1 id10270/5r0dWxy17C8/00001.wav
"""
FILES = [line.split()[1] for line in LIST.splitlines()]


def test_a_copy_in_one_folder(plant, list_of) -> None:
    list_of("iden_split.txt", LIST)
    found = VOXCELEB1.open(plant(*(f"wav/{file}" for file in FILES)))
    assert [os.path.relpath(str(path), os.path.join(found.source, "wav")) for path in found.sounds] == FILES
    assert found.labels == [("id10003",), ("id10003",), ("id10003",), ("id10270",)]
    assert found.parts == ["train", "valid", "test", "train"]
    assert found.groups == ["na8-QEFmj44", "tCq2LcKO6xY", "xM5zGDoSkXk", "5r0dWxy17C8"], "the videos"
    assert found.classes == ["id10003", "id10270"]
    assert "part test: 1 clips, published 8,251" in found.notes
    assert sum(VOXCELEB1.counts.values()) == 153_516


def test_a_copy_as_the_archives_unpack(plant, list_of) -> None:
    list_of("iden_split.txt", LIST)
    parts = [f"vox1_dev_wav/wav/{file}" for file in FILES[:3]] + [f"vox1_test_wav/wav/{FILES[3]}"]
    found = VOXCELEB1.open(plant(*parts))
    assert [os.path.relpath(str(path), found.source) for path in found.sounds] == parts


def test_missing_clips(plant, list_of) -> None:
    list_of("iden_split.txt", LIST)
    found = VOXCELEB1.open(plant(*(f"wav/{file}" for file in FILES[1:3])))
    assert [clip.path.split("/wav/")[1] for clip in found.missing] == [FILES[0], FILES[3]]
    assert found.classes == ["id10003", "id10270"], "as the list has them"


@pytest.mark.parametrize("line", ["4 id10003/na8-QEFmj44/00003.wav", "1 id10003/00003.wav"])
def test_a_damaged_list_is_one_line(plant, list_of, line: str) -> None:
    list_of("iden_split.txt", LIST + line + "\n")
    with pytest.raises(AaspError, match=r"iden_split\.txt, line 5: not PART SPEAKER/VIDEO/UTTERANCE"):
        VOXCELEB1.open(plant(f"wav/{FILES[0]}"))
    list_of("iden_split.txt", LIST + "id10003/na8-QEFmj44/00003.wav\n")
    with pytest.raises(AaspError, match="line 5: 1 values instead of 2"):
        VOXCELEB1.open(plant(f"wav/{FILES[0]}"))


def test_a_wrong_root(plant, list_of, tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"no such file: .*iden_split\.txt"):
        VOXCELEB1.open(plant("x.wav"))
    list_of("iden_split.txt", LIST)
    with pytest.raises(AaspError, match="voxceleb1: all 4 clips are missing"):
        VOXCELEB1.open(tmp_path)
