"""The meaning of part names, alone and together, and the spelling of folds."""

from __future__ import annotations

import pytest

from aasp.datasets.parts import is_flag, is_fold, part_in, parts_of, parts_or_folds
from aasp.errors import AaspError


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        ("train test", "train test"),
        ("Train Test", "train test"),
        ("TRAIN VALID TEST", "train valid test"),
        ("training validation testing", "train valid test"),
        ("train val test", "train valid test"),
        ("trn tst", "train test"),
        ("train_set Test-Set", "train test"),
        ("dev eval", "train test"),
        ("development evaluation", "train test"),
        ("dev test", "train test"),
        ("dev val test", "train valid test"),
        ("train dev test", "train valid test"),
        ("train dev eval", "train valid test"),
        ("train eval", "train test"),
        ("train validation eval", "train valid test"),
        ("train eval test", "train valid test"),
        ("train val", "train valid"),
        ("dev", "train"),
    ],
)
def test_names_of_parts_are_understood(names: str, meant: str) -> None:
    assert parts_of(names.split()) == dict(zip(names.split(), meant.split(), strict=True))
    padded = [f" {name}\t" for name in names.split()]
    assert parts_or_folds(padded) == meant.split()


@pytest.mark.parametrize("names", ["train dev val test", "dev eval test", "train dev eval test", "eval test"])
def test_parts_that_can_be_understood_in_two_ways_are_refused(names: str) -> None:
    with pytest.raises(AaspError, match="are ambiguous; call them train, valid and test"):
        parts_of(names.split())


@pytest.mark.parametrize("names", ["train dog", "dog cat", "", "1 2", "fold1 fold2", "testament trainer"])
def test_names_of_something_else(names: str) -> None:
    assert parts_of(names.split()) is None


@pytest.mark.parametrize(
    ("values", "folds"),
    [
        (["1", "2", "10"], ["1", "2", "10"]),
        (["1.0", "2.0", "1"], ["1", "2", "1"]),
        (["01", " 1", "2"], ["1", "1", "2"]),
        (["0", "-1"], ["0", "-1"]),
        (["fold1", "Fold 1", "fold_02"], ["fold1", "fold1", "fold_02"]),
        (["fold-1", "fold-10"], ["fold-1", "fold-10"]),
    ],
)
def test_folds_have_one_spelling_each(values: list[str], folds: list[str]) -> None:
    assert parts_or_folds(values) == folds


@pytest.mark.parametrize(
    "values",
    [
        ["train", "1", "2"],
        ["train", "trian", "test"],
        ["train", "test", "nan"],
        ["train1", "test1"],
        ["train-clean-100", "test-clean"],
        ["test1", "test2"],
        ["fold1", "test"],
        ["1", "x"],
        ["1.5", "2.5"],
        ["True", "False"],
        ["anna", "bob"],
        ["x1", "y2"],
    ],
)
def test_values_that_are_neither_parts_nor_folds_are_refused(values: list[str]) -> None:
    with pytest.raises(AaspError) as error:
        parts_or_folds(values)
    assert "neither parts nor folds: " in str(error.value) and "; " in str(error.value)
    assert all(f"{value!r} × 1" in str(error.value) for value in values)


def test_folds_of_any_name() -> None:
    assert parts_or_folds(["anna", "Bob", "bob ", "1-2"], any_name=True) == ["anna", "Bob", "Bob", "1-2"]
    for values in (["anna", "test"], ["train_a", "test_a"]):
        with pytest.raises(AaspError, match="neither parts nor folds"):
            parts_or_folds(values, any_name=True)


def test_one_value_per_clip_is_no_fold() -> None:
    assert len(parts_or_folds([str(row) for row in range(20)])) == 20
    with pytest.raises(AaspError, match="each of the 21 clips has its own value"):
        parts_or_folds([str(row) for row in range(21)])


def test_names_of_folders_and_columns() -> None:
    assert is_fold("Fold_02") and is_fold("fold1") and not is_fold("folder1") and not is_fold("1")
    assert all(map(is_flag, ("is_test", "isTrain", "test", "IS TRAIN")))
    assert not any(map(is_flag, ("fold", "split", "test_fold", "issue")))


def test_a_published_list_has_only_standard_part_names() -> None:
    assert [part_in(name, "l.csv") for name in ("train", "Validation", "TEST")] == ["train", "valid", "test"]
    with pytest.raises(AaspError, match=r"l\.csv, line 3: unknown part 'dev'; use train, valid and test"):
        part_in("dev", "l.csv, line 3")
