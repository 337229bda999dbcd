"""A directory for each class, with parts and without."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from trees import sound

from aasp.datasets.benchmarks.folder import open_folder
from aasp.errors import AaspError


def classes(root: Path, counts: dict[str, int]) -> Path:
    for label, count in counts.items():
        for number in range(count):
            sound(root / label / f"{number}.wav")
    return root


def test_parts_are_held_out_class_by_class(tmp_path: Path) -> None:
    found = open_folder(classes(tmp_path / "zoo", {"dog": 20, "cat": 10, "eel": 2}))
    counts = Counter((label, part) for (label,), part in zip(found.labels, found.parts, strict=True))
    assert counts == {
        ("cat", "train"): 7,
        ("cat", "valid"): 1,
        ("cat", "test"): 2,
        ("dog", "train"): 14,
        ("dog", "valid"): 2,
        ("dog", "test"): 4,
        ("eel", "train"): 1,
        ("eel", "test"): 1,
    }
    assert (found.name, list(found.classes), found.multilabel) == ("zoo/", ["cat", "dog", "eel"], False)
    assert len(found.notes) == 1 and "ours" in found.notes[0]


def test_the_same_clips_are_held_out_wherever_the_folder_lies(tmp_path: Path) -> None:
    root = classes(tmp_path / "a", {"dog": 20, "cat": 10})
    first = open_folder(root)
    second = open_folder(root.rename(tmp_path / "b"))
    assert list(first.parts) == list(second.parts)
    assert [Path(str(s)).name for s in first.sounds] == [Path(str(s)).name for s in second.sounds]


def test_a_folder_by_a_roundabout_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = classes(tmp_path / "zoo", {"dog": 5, "cat": 5})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = open_folder("../zoo/../zoo")
    assert found.name == "zoo/" and list(found.parts) == list(open_folder(root).parts)


@pytest.mark.parametrize("valid", ["valid", "validation", "val", None])
def test_parts_that_are_there_are_kept(tmp_path: Path, valid: str | None) -> None:
    for folder in ("train", valid, "test"):
        if folder:
            classes(tmp_path / folder, {"dog": 2, "cat": 1})
    found = open_folder(tmp_path)
    assert Counter(found.parts) == {"train": 3, "test": 3} | ({"valid": 3} if valid else {})
    assert found.notes == []


def test_a_class_of_one_clip_is_refused(tmp_path: Path) -> None:
    classes(tmp_path, {"dog": 3, "yak": 1, "cow": 1})
    with pytest.raises(AaspError) as told:
        open_folder(tmp_path)
    said = str(told.value)
    assert "class 'cow' has one clip" in said and str(tmp_path / "cow" / "0.wav") in said and "2 such classes" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({"dog": 3}, "3 clips in 1 class folders"),
        ({}, "0 clips in 0 class folders"),
        ({"train/dog": 1, "train/cat": 1}, "has train but no test"),
        ({"test/dog": 1, "val/cat": 1}, "has test, valid but no train"),
    ],
)
def test_what_is_no_set_of_classes(tmp_path: Path, counts: dict[str, int], complaint: str) -> None:
    with pytest.raises(AaspError, match=complaint):
        open_folder(classes(tmp_path, counts))


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such folder"):
        open_folder(tmp_path / "x")


def test_nothing_is_passed_over_in_silence(tmp_path: Path) -> None:
    classes(tmp_path, {"train/dog": 1, "train/cat": 1, "test/dog": 1, "spare/dog": 1})
    sound(tmp_path / "train" / "loose.wav")
    (tmp_path / "train" / "dog" / "a.m4a").touch()
    found = open_folder(tmp_path)
    assert {Path(file.path).name: file.reason.partition(" (")[0] for file in found.missing} == {
        "loose.wav": "is in no folder of a class",
        "a.m4a": "format not supported",
    }
    assert found.notes == ["not in a part, not used: folder spare"]
