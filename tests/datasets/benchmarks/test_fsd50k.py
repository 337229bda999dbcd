"""FSD50K: development and evaluation halves, their lists, and the uploaders."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from aasp.datasets.benchmarks.fsd50k import FSD50K
from aasp.errors import AaspError

SOUNDS = [f"FSD50K.dev_audio/{name}.wav" for name in (64760, 16399, 21)] + ["FSD50K.eval_audio/37199.wav"]
VOCABULARY = "0,Bark,/m/05tny_\n1,Dog,/m/0bt9lr\n2,Rain,/m/06mb1\n"
DEV = """fname,labels,mids,split
64760,"Bark,Dog","/m/05tny_,/m/0bt9lr",train
16399,Rain,/m/06mb1,val
21,Dog,/m/0bt9lr,train
"""
EVAL = """fname,labels,mids
37199,Rain,/m/06mb1
"""


@pytest.fixture
def lists(list_of: Callable[[str, str], None]) -> None:
    list_of("FSD50K.ground_truth/vocabulary.csv", VOCABULARY)
    list_of("FSD50K.ground_truth/dev.csv", DEV)
    list_of("FSD50K.ground_truth/eval.csv", EVAL)


def metadata(uploaders: dict[str, str]) -> str:
    return json.dumps({clip: {"title": "x", "uploader": who} for clip, who in uploaders.items()})


@pytest.mark.usefixtures("lists")
def test_a_copy(plant) -> None:
    found = FSD50K.open(plant(*SOUNDS))
    assert [os.path.relpath(str(path), found.source) for path in found.sounds] == SOUNDS
    assert found.labels == [("Bark", "Dog"), ("Rain",), ("Dog",), ("Rain",)]
    assert found.parts == ["train", "valid", "train", "test"]
    assert found.classes == ["Bark", "Dog", "Rain"]
    assert found.multilabel and not found.missing
    assert found.groups is None and "uploaders are unknown" in found.notes[0]
    assert "part train: 2 clips, published 36,796" in found.notes
    assert sum(FSD50K.counts.values()) == 51_197


@pytest.mark.usefixtures("lists")
def test_uploaders_are_the_groups(plant, list_of) -> None:
    list_of("FSD50K.metadata/dev_clips_info_FSD50K.json", metadata({"64760": "ann", "16399": "bob", "21": "ann"}))
    list_of("FSD50K.metadata/eval_clips_info_FSD50K.json", metadata({"37199": "eve"}))
    found = FSD50K.read(plant(*SOUNDS))
    assert found.groups == ["ann", "bob", "ann", "eve"]
    assert found.notes == []


@pytest.mark.usefixtures("lists")
def test_missing_clips(plant) -> None:
    found = FSD50K.open(plant(*SOUNDS[:2]))
    assert [os.path.basename(clip.path) for clip in found.missing] == ["21.wav", "37199.wav"]
    assert any(note.startswith("missing: 2 clips") for note in found.notes)


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("FSD50K.ground_truth/dev.csv", DEV + "5,Cat,/m/0,train\n", "line 5: 'Cat' is not in vocabulary.csv"),
        ("FSD50K.ground_truth/dev.csv", DEV + "5,Dog,/m/0,test\n", "line 5: split 'test' is neither train nor val"),
        ("FSD50K.ground_truth/dev.csv", DEV + "5,Dog\n", "line 5: 2 values in 4 columns"),
        ("FSD50K.ground_truth/dev.csv", EVAL, "no column split"),
        ("FSD50K.ground_truth/vocabulary.csv", VOCABULARY + "7,Cat,/m/0\n", "line 4: class 7 out of order"),
        ("FSD50K.ground_truth/vocabulary.csv", "0,Bark\n", "line 1: 2 values instead of 3"),
        ("FSD50K.metadata/dev_clips_info_FSD50K.json", "{", "not FSD50K's metadata"),
        ("FSD50K.metadata/dev_clips_info_FSD50K.json", metadata({"21": "ann"}), "clip 64760 is not in FSD50K.metadata"),
    ],
)
def test_a_damaged_list_is_one_line(plant, list_of, file: str, text: str, message: str) -> None:
    list_of(file, text)
    with pytest.raises(AaspError) as error:
        FSD50K.open(plant(*SOUNDS))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_root(plant) -> None:
    with pytest.raises(AaspError, match=r"no such file: .*vocabulary\.csv"):
        FSD50K.open(plant("64760.wav"))
