"""Columns of an index become rounds in which no clip, and no group that was to be held out, is in two parts."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.errors import AaspError
from aasp.evaluate.task import Task

PARTS = ["train"] * 6 + ["valid"] * 2 + ["test"] * 2
LABELS = ["a", "b"] * 5


def test_parts_of_a_split_column() -> None:
    task = Task.from_columns(LABELS, PARTS)
    (only,) = task.rounds
    assert (only.train.tolist(), only.valid.tolist(), only.test.tolist()) == ([*range(6)], [6, 7], [8, 9])
    assert only.refit.tolist() == [*range(8)]
    assert (task.classes, task.y.tolist(), task.notes, task.multilabel) == (["a", "b"], [0, 1] * 5, [], False)


def test_folds_are_tested_once_and_the_next_one_chooses() -> None:
    folds = np.repeat([1, 2, 10], 4)
    task = Task.from_columns(["a", "b"] * 6, folds.tolist())
    assert [r.name for r in task.rounds] == ["1", "2", "10"], "in the order of their numbers"
    for r, chooser in zip(task.rounds, (2, 10, 1), strict=True):
        assert set(folds[r.test]) == {int(r.name)}
        assert set(folds[r.valid]) == {chooser}
        assert sorted([*r.train, *r.valid, *r.test]) == [*range(12)]
    assert task.test.tolist() == [*range(12)]


def test_without_a_valid_part_whole_groups_are_held_out() -> None:
    split = ["train"] * 200 + ["test"] * 2
    groups = np.array([f"speaker {i // 4}" for i in range(202)])
    task = Task.from_columns([*"ab"] * 101, split, groups.tolist())
    (only,) = task.rounds
    assert 20 <= only.valid.size < 24
    assert set(groups[only.train]).isdisjoint(groups[only.valid])
    assert only.refit.tolist() == [*range(200)]
    again = Task.from_columns([*"ab"] * 101, split, groups.tolist())
    assert again.rounds[0].valid.tolist() == only.valid.tolist()
    other = Task.from_columns([*"ab"] * 101, split, groups.tolist(), seed=1)
    assert other.rounds[0].valid.tolist() != only.valid.tolist()


def test_two_folds_choose_on_a_held_out_tenth() -> None:
    task = Task.from_columns([*"ab"] * 20, ["x"] * 20 + ["y"] * 20)
    assert [(r.train.size, r.valid.size, r.test.size) for r in task.rounds] == [(18, 2, 20)] * 2


def test_a_semicolon_makes_the_task_multilabel() -> None:
    task = Task.from_columns(["dog; cat", "", "cat", "dog", "cat;cat"], ["train", "train", "train", "train", "test"])
    assert task.multilabel and task.classes == ["cat", "dog"]
    assert task.y.tolist() == [[True, True], [False, False], [True, False], [False, True], [True, False]]


def test_labels_and_groups_that_are_numbers() -> None:
    task = Task.from_columns([60, 9, 60, 9], ["train", "train", "test", "test"], [1, 2, 3, 4])
    assert task.classes == ["9", "60"] and task.y.tolist() == [1, 0, 1, 0]


def test_what_a_reader_should_know_is_noted() -> None:
    labels = ["a", "b", "a", "b", "a", "b", "c", "d"]
    split = ["train"] * 4 + ["valid"] * 1 + ["test"] * 3
    groups = ["x", "y", "z", "z", "v", "y", "y", "w"]
    unseen, torn = Task.from_columns(labels, split, groups).notes
    assert "2 label(s) only in the test part" in unseen and "c, d" in unseen
    assert "1 group(s) in both train and test" in torn and "y" in torn
    (single,) = Task.from_columns(labels[:6], ["train"] * 4 + ["test"] * 2, ["x", "y", "x", "y", "v", "v"]).notes
    assert "'v'" in single


@pytest.mark.parametrize(
    ("labels", "split", "groups", "told"),
    [
        (["a", "", "b"], ["train", "train", "test"], None, "1 of 3 clips have none"),
        (["a", None, "b"], ["train", "train", "test"], None, "1 of 3 clips have none"),
        (["a", "a", "a"], ["train", "train", "test"], None, "1 class"),
        (["a", "b", "a"], ["train", "train", "dev"], None, "'dev'"),
        (["a", "b", "a"], ["train", "train", "valid"], None, "'test'"),
        (["a", "b", "a"], ["valid", "test", "test"], None, "'train'"),
        (["a", "b", "a"], ["train", None, "test"], None, "1 of 3 clips have no part"),
        (["a", "b", "a"], ["1", "1", "1"], None, "single fold"),
        (["a", "b", "c"], ["train", "train", "test"], None, "none of test part 'test'"),
        (["a;b", "b", "c"], ["train", "train", "test"], None, "none of test part 'test'"),
        (["a", "b", "a"], ["train", "train", "test"], ["x", "x", "y"], "one group 'x'"),
    ],
)
def test_columns_that_make_no_task(labels: list, split: list, groups: list | None, told: str) -> None:
    with pytest.raises(AaspError, match="; ") as error:
        Task.from_columns(labels, split, groups)
    assert told in str(error.value)
