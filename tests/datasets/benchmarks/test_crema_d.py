"""CREMA-D with actors split as in TensorFlow Datasets, and by EVAR's list."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from trees import crema_d, sound, table

from aasp.datasets.benchmarks.crema_d import ACTORS, CLASSES, CREMA_D, CREMA_D_EVAR, parts_of_actors
from aasp.errors import AaspError

# The actors of whom TensorFlow Datasets' two smaller parts are made.
VALID = "1015 1020 1021 1030 1050 1070 1079 1089 1090"
TEST = "1010 1013 1022 1026 1037 1038 1040 1045 1047 1048 1059 1065 1066 1068 1071 1073 1084 1086 1088"


def test_the_split_is_that_of_tensorflow_datasets() -> None:
    parts = parts_of_actors()
    assert [actor for actor in ACTORS if parts[actor] == "valid"] == VALID.split()
    assert [actor for actor in ACTORS if parts[actor] == "test"] == TEST.split()
    assert Counter(parts.values()) == {"train": 63, "valid": 9, "test": 19}
    # Each of nine actors spoke 82 clips; of test's 19 x 82, two are among those left out.
    assert CREMA_D.counts["valid"] == 9 * 82 and CREMA_D.counts["test"] == 19 * 82 - 2


def test_the_published_layout(tmp_path: Path) -> None:
    found = replace(CREMA_D, classes=2, counts={"train": 126, "valid": 18, "test": 38}).open(
        crema_d(tmp_path, ACTORS, CLASSES[:2])
    )
    assert len(found.notes) == 1 and "not EVAR's" in found.notes[0]
    assert tuple(found.classes) == CLASSES and found.groups is not None
    parts: dict[str, set[str]] = {}
    for actor, part in zip(found.groups, found.parts, strict=True):
        parts.setdefault(actor, set()).add(part)
    assert len(parts) == 91 and all(len(those) == 1 for those in parts.values())


def test_clips_left_out_by_tensorflow_datasets_are_left_out_and_noted(tmp_path: Path) -> None:
    crema_d(tmp_path, ACTORS[:3], CLASSES)
    sound(tmp_path / "AudioWAV" / "1040_ITH_SAD_X.wav")
    found = CREMA_D.open(tmp_path)
    assert len(found) == 18 and "left out, as in TensorFlow Datasets: 1 clips" in found.notes


def test_evars_list(tmp_path: Path) -> None:
    crema_d(tmp_path, ACTORS[:3], CLASSES[:2])
    names = sorted(path.name for path in (tmp_path / "AudioWAV").iterdir())
    parts = {"1001": "test", "1002": "train", "1003": "val"}
    rows = [(name, name[9:12], name[:4], parts[name[:4]]) for name in names]
    table(tmp_path / "cremad.csv", ("file_name", "label", "speaker_id", "split"), rows)
    found = CREMA_D_EVAR.open(tmp_path)
    assert found.groups is not None
    assert set(zip(found.groups, found.parts, strict=True)) == {("1001", "test"), ("1002", "train"), ("1003", "valid")}
    assert "part train: 2 clips, published 5,155" in found.notes


def test_evars_benchmark_needs_evars_list(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match=r"no such file: .*cremad\.csv"):
        CREMA_D_EVAR.open(crema_d(tmp_path, ACTORS[:3], CLASSES))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("hello.wav", "not named ACTOR_SENTENCE_EMOTION_LEVEL"), ("1992_DFA_ANG_XX.wav", "there is no actor 1992")],
)
def test_an_unknown_file_among_the_clips(tmp_path: Path, name: str, complaint: str) -> None:
    sound(tmp_path / "AudioWAV" / name)
    with pytest.raises(AaspError, match=complaint):
        CREMA_D.open(tmp_path)


def test_a_wrong_root(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="crema_d: no clips; `aasp benchmarks crema_d`"):
        CREMA_D.open(tmp_path)
