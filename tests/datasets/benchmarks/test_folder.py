"""A directory for each class, with parts and without."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from trees import sound

from aasp.datasets.benchmarks.folder import open_folder
from aasp.datasets.benchmarks.open import open_labelled
from aasp.errors import AaspError
from aasp.evaluate.task import Task


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
    assert len(found.notes) == 1 and "our own" in found.notes[0]


def test_the_same_clips_are_held_out_wherever_the_folder_lies(tmp_path: Path) -> None:
    root = classes(tmp_path / "a", {"dog": 20, "cat": 10})
    first = open_folder(root)
    second = open_folder(root.rename(tmp_path / "b"))
    assert list(first.parts) == list(second.parts)
    assert [Path(str(s)).name for s in first.sounds] == [Path(str(s)).name for s in second.sounds]


def test_a_folder_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(AaspError) as error:
        open_folder(tmp_path)
    message = str(error.value)
    assert (
        "class 'cow' has one clip" in message
        and str(tmp_path / "cow" / "0.wav") in message
        and "2 such classes" in message
    )
    assert "\n" not in message


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ({"dog": 3}, "3 clips in 1 class folders"),
        ({}, "0 clips in 0 class folders"),
        ({"train/dog": 1, "train/cat": 1}, "has train but no test"),
        ({"test/dog": 1, "val/cat": 1}, "has test, valid but no train"),
    ],
)
def test_a_folder_without_classes_is_refused(tmp_path: Path, counts: dict[str, int], complaint: str) -> None:
    with pytest.raises(AaspError, match=complaint):
        open_folder(classes(tmp_path, counts))


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such folder"):
        open_folder(tmp_path / "x")


def test_every_skipped_file_is_listed(tmp_path: Path) -> None:
    classes(tmp_path, {"train/dog": 1, "train/cat": 1, "test/dog": 1})
    for name in ("loose.wav", "loose.flac", "train/loose.wav"):
        sound(tmp_path / name)
    for name in ("train/dog/a.mpc", "b.mpc", "lists/all.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = open_folder(tmp_path)
    reasons = {str(Path(file.path).relative_to(tmp_path)): file.reason.partition(" (")[0] for file in found.missing}
    loose, unread = "is in no folder of a class", "format not supported"
    assert reasons == {
        "loose.flac": loose,
        "loose.wav": loose,
        "train/loose.wav": loose,
        "train/dog/a.mpc": unread,
        "b.mpc": unread,
    }
    assert found.notes == ["without sound, not used: folder lists"] and list(found.classes) == ["cat", "dog"]


def test_files_left_out_are_listed_in_the_requested_file(tmp_path: Path) -> None:
    root = classes(tmp_path / "zoo", {"dog": 5, "cat": 5})
    (root / "dog" / "a.mpc").touch()
    found = open_labelled("folder", root, missing_list=tmp_path / "missing.csv")
    assert found.notes[-1] == f"files left out: 1, listed in {tmp_path / 'missing.csv'}"
    assert (tmp_path / "missing.csv").read_text().splitlines()[1].startswith(str(root / "dog" / "a.mpc"))


def test_hidden_files_and_those_of_the_system_are_left_out_and_counted(tmp_path: Path) -> None:
    root = classes(tmp_path / "zoo", {"dog": 5, "cat": 5, ".Trash-0/dog": 1, "@eaDir": 1, "dog/__MACOSX": 1})
    sound(root / "cat" / "._0.wav")
    found = open_folder(root)
    assert Counter(found.labels) == {("dog",): 5, ("cat",): 5} and list(found.missing) == []
    assert found.notes[0] == f"hidden or system files, left out: 1 file and 3 folders, the first {root}/.Trash-0/"


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("training", "testing"),
        ("dev", "eval"),
        ("train ", " test"),
        ("train_set", "test-set"),
    ],
)
def test_parts_are_known_by_any_of_their_names(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, count in zip(names, (3, 2), strict=True):
        classes(tmp_path / name, {"dog": count, "cat": count})
    found = open_folder(tmp_path)
    assert list(found.classes) == ["cat", "dog"] and Counter(found.parts) == {"train": 6, "test": 4}
    assert [Path(str(one)).parts[-3] for one in found.sounds] == [names[part == "test"] for part in found.parts]
    (only,) = Task.of(found, choose="held_out").rounds
    assert len(only.test) == 4


@pytest.mark.parametrize(
    "names", [("dog", "train", "rain"), ("train", "test", "dog"), ("val", "dev", "x"), ("test", "x")]
)
def test_a_class_may_be_called_as_a_part_is(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = open_folder(classes(tmp_path, dict.fromkeys(names, 5)))
    assert list(found.classes) == sorted(names) and Counter(found.parts)["test"] == len(names)
    assert Counter(found.labels) == {(name,): 5 for name in names}


def test_classes_with_folders_inside(tmp_path: Path) -> None:
    made = {f"{label}/{who}": 5 for label in ("train", "dog") for who in ("anna", "bob")}
    assert Counter(open_folder(classes(tmp_path, made)).labels) == {("train",): 10, ("dog",): 10}


def test_folds(tmp_path: Path) -> None:
    made = {f"fold{fold}/{label}": 2 for fold in (1, 2, 10) for label in ("dog", "cat")}
    found = open_folder(classes(tmp_path, made))
    assert Counter(found.parts) == {"fold1": 4, "fold2": 4, "fold10": 4} and list(found.classes) == ["cat", "dog"]
    assert len(Task.of(found, choose="next_fold").rounds) == 3


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            ("train/dog", "train/cat", "test/dog", "spare/dog"),
            "test, train hold the same folders, .* but spare is none",
        ),
        (("fold1/dog", "fold2/dog", "more/dog"), "fold1, fold2 hold the same folders, .* but more is none"),
        (("dog/train", "dog/test", "cat/train", "cat/test"), "parts lie below the classes, cat: "),
        (("data/train/dog", "data/test/dog", "data/test/cat"), r"parts lie below data: .*; name .*/data$"),
        (("train", "test"), "test, train hold no folders of classes; lay out train/dog/"),
        (("train/dog", "dev/dog", "val/dog", "test/dog"), "are ambiguous"),
        (("valid/dog", "valid/cat"), "has valid but no train"),
        (("eval/dog", "eval/cat"), "has test but no train"),
        (
            ("audio_train/dog", "audio_train/cat", "audio_test/dog"),
            "audio_test, audio_train are parts with an addition",
        ),
        (("train1/dog", "train1/cat", "test1/dog", "test1/cat"), "test1, train1 are parts with an addition"),
        (("train-clean-100/dog", "dev-clean/cat", "test-clean/cat"), "are parts with an addition; rename them"),
        (("FSD50K.dev_audio", "FSD50K.eval_audio"), "are parts with an addition"),
        (("dog_train", "cat_train", "dog_test", "cat_test"), "are parts with an addition"),
    ],
)
def test_folders_that_might_be_either_are_refused(tmp_path: Path, names: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(AaspError, match=complaint) as error:
        open_folder(classes(tmp_path, dict.fromkeys(names, 3)))
    assert "; " in str(error.value) and str(tmp_path) in str(error.value)


def test_a_file_under_two_names_is_never_trained_on_and_tested(tmp_path: Path) -> None:
    classes(tmp_path, {"train/dog": 2, "train/cat": 2, "test/dog": 2, "test/cat": 2})
    (tmp_path / "test" / "dog" / "again.wav").symlink_to(tmp_path / "train" / "dog" / "1.wav")
    with pytest.raises(AaspError, match=r"dog/again\.wav is in 'test', and as .*train/dog/1\.wav in 'train'; what is"):
        open_folder(tmp_path)


def test_a_file_under_two_names_of_one_class_is_taken_once(tmp_path: Path) -> None:
    root = classes(tmp_path / "zoo", {"dog": 20, "cat": 20})
    before = open_folder(root)
    for number in range(20):
        (root / "dog" / f"z{number}.wav").hardlink_to(root / "dog" / f"{number}.wav")
    found = open_folder(root)
    assert (found.sounds, found.parts) == (before.sounds, before.parts)
    assert len(found.missing) == 20 and f"is the same file as {root}/dog/" in found.missing[0].reason
    (root / "cat" / "odd.wav").symlink_to(root / "dog" / "3.wav")
    with pytest.raises(AaspError, match=r"is in class 'dog', and as .*odd\.wav in another; keep one"):
        open_folder(root)
