"""A labelled set becomes rounds in which no clip, and no group that was to be held out, is in two parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from columns import set_of, task_of

from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.task import Task

PARTS = ["train"] * 6 + ["valid"] * 2 + ["test"] * 2
LABELS = ["a", "b"] * 5


def test_parts_of_a_split_column() -> None:
    task = task_of(LABELS, PARTS)
    (only,) = task.rounds
    assert (only.train.tolist(), only.valid.tolist(), only.test.tolist()) == ([*range(6)], [6, 7], [8, 9])
    assert only.refit.tolist() == [*range(8)]
    assert (task.classes, task.y.tolist(), task.notes, task.multilabel) == (["a", "b"], [0, 1] * 5, [], False)


def test_folds_are_tested_once_and_the_next_one_chooses() -> None:
    folds = np.repeat([1, 2, 10], 4)
    task = task_of(["a", "b"] * 6, folds.tolist())
    assert [r.name for r in task.rounds] == ["1", "2", "10"], "in the order of their numbers"
    for r, chooser in zip(task.rounds, (2, 10, 1), strict=True):
        assert set(folds[r.test]) == {int(r.name)}
        assert set(folds[r.valid]) == {chooser}
        assert sorted([*r.train, *r.valid, *r.test]) == [*range(12)]
    assert task.test.tolist() == [*range(12)]


def test_folds_of_any_name_are_ordered() -> None:
    names = ["--5", "9", "10"]
    assert [r.name for r in task_of(["a", "b"] * 6, np.repeat(names, 4).tolist()).rounds] == ["--5", "10", "9"]


def test_without_a_valid_part_whole_groups_are_held_out() -> None:
    split = ["train"] * 200 + ["test"] * 2
    groups = np.array([f"speaker {i // 4}" for i in range(202)])
    task = task_of([*"ab"] * 101, split, groups.tolist())
    (only,) = task.rounds
    assert 20 <= only.valid.size < 24
    assert set(groups[only.train]).isdisjoint(groups[only.valid])
    assert only.refit.tolist() == [*range(200)]
    again = task_of([*"ab"] * 101, split, groups.tolist())
    assert again.rounds[0].valid.tolist() == only.valid.tolist()
    other = task_of([*"ab"] * 101, split, groups.tolist(), seed=1)
    assert other.rounds[0].valid.tolist() != only.valid.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_a_large_group_is_not_held_out_if_small_ones_suffice(seed: int) -> None:
    groups = ["large"] * 180 + [f"small {i // 2}" for i in range(20)] + ["tested"] * 2
    (only,) = task_of([*"ab"] * 101, ["train"] * 200 + ["test"] * 2, groups, seed=seed).rounds
    assert only.valid.size == 20 and only.valid.min() >= 180
    groups = ["one"] * 100 + ["two"] * 100 + ["tested"] * 2
    (only,) = task_of([*"ab"] * 101, ["train"] * 200 + ["test"] * 2, groups, seed=seed).rounds
    assert only.valid.size == only.train.size == 100


@pytest.mark.parametrize("seed", range(4))
def test_a_large_group_is_not_held_out_beside_small_ones(seed: int) -> None:
    """Groups of 4, 48 and 48 clips: 4 are nearer to a tenth than 52."""
    groups = ["few"] * 4 + ["one"] * 48 + ["two"] * 48 + ["tested"] * 2
    (only,) = task_of([*"ab"] * 51, ["train"] * 100 + ["test"] * 2, groups, seed=seed).rounds
    assert only.valid.tolist() == [0, 1, 2, 3]
    groups = ["few"] * 4 + [f"of 12, {i // 12}" for i in range(96)] + ["tested"] * 2
    (only,) = task_of([*"ab"] * 51, ["train"] * 100 + ["test"] * 2, groups, seed=seed).rounds
    assert only.valid.size == 16, "up to a fifth"


def test_two_folds_choose_on_a_held_out_tenth() -> None:
    task = task_of([*"ab"] * 20, ["x"] * 20 + ["y"] * 20)
    assert [(r.train.size, r.valid.size, r.test.size) for r in task.rounds] == [(18, 2, 20)] * 2


def test_a_semicolon_makes_the_task_multilabel() -> None:
    task = task_of(["dog; cat", "", "cat", "dog", "cat;cat"], ["train", "train", "train", "train", "test"])
    assert task.multilabel and task.classes == ["cat", "dog"]
    assert task.y.tolist() == [[True, True], [False, False], [True, False], [False, True], [True, False]]


def test_labels_and_groups_that_are_numbers() -> None:
    task = task_of([60, 9, 60, 9], ["train", "train", "test", "test"], [1, 2, 3, 4])
    assert task.classes == ["9", "60"] and task.y.tolist() == [1, 0, 1, 0]


def test_unseen_labels_torn_groups_and_rare_classes_are_noted() -> None:
    labels = ["a", "b", "a", "b", "a", "b", "c", "d"]
    split = ["train"] * 4 + ["valid"] * 1 + ["test"] * 3
    groups = ["x", "y", "z", "z", "v", "y", "y", "w"]
    unseen, torn, rare = task_of(labels, split, groups).notes
    assert "2 label(s) only in the test part" in unseen and "c, d" in unseen
    assert "1 group(s) in both train and test" in torn and "y" in torn
    assert "2 class(es) of one clip" in rare and "c, d" in rare
    (single,) = task_of(labels[:6], ["train"] * 4 + ["test"] * 2, ["x", "y", "x", "y", "v", "v"]).notes
    assert "'v'" in single


@pytest.mark.parametrize(
    ("labels", "split", "groups", "message"),
    [
        (["a", "", "b"], ["train", "train", "test"], None, "1 of 3 clips have none"),
        (["a", None, "b"], ["train", "train", "test"], None, "1 of 3 clips have none"),
        (["a", "a", "a"], ["train", "train", "test"], None, "1 class"),
        (["a", "b", "a"], ["train", "train", "dev"], None, "'dev'"),
        (["a", "b", "a"], ["train", "train", "valid"], None, "'test'"),
        (["a", "b", "a"], ["valid", "test", "test"], None, "'train'"),
        (["a", "b", "a"], ["train", None, "test"], None, "1 of 3 clips have no part"),
        (["a", "b", "a"], ["1", "1", "1"], None, "single fold"),
        (["a", "b", "a"], ["1", "1.0", "01"], None, "single fold"),
        (["a", "b", "a"], ["train", "1", "2"], None, "neither parts nor folds: 'train' × 1, '1' × 1, '2' × 1"),
        (["a", "b", "a"], ["test1", "test1", "test2"], None, "neither parts nor folds"),
        (["a", "b", "c"], ["train", "train", "test"], None, "none of test part 'test'"),
        (["a;b", "b", "c"], ["train", "train", "test"], None, "none of test part 'test'"),
        (["a", "b", "a"], ["train", "train", "test"], ["x", "x", "y"], "one group 'x'"),
    ],
)
def test_columns_that_make_no_task(labels: list, split: list, groups: list | None, message: str) -> None:
    with pytest.raises(AaspError, match="; ") as error:
        task_of(labels, split, groups)
    assert message in str(error.value)


@pytest.mark.parametrize("groups", [None, [f"g{i}" for i in range(10)]])
def test_a_sound_in_two_parts_makes_no_task(groups: list[str] | None) -> None:
    made = set_of(LABELS, PARTS, groups)
    torn = replace(made, sounds=[*made.sounds[:-1], made.sounds[0]])
    where = r"0\.wav is in 'train' \(row 1\) and in 'test' \(row 10\)"
    with pytest.raises(AaspError, match=where + "; what is trained on can't be tested"):
        Task.of(torn, choose="next_fold")


def test_rows_of_one_sound_are_one_cluster() -> None:
    made = set_of(LABELS, PARTS)
    assert Task.of(made, choose="next_fold").groups is None
    twice = replace(made, sounds=[*made.sounds[:-1], made.sounds[-2]])
    groups = Task.of(twice, choose="next_fold").groups
    assert groups is not None and groups.tolist() == [str(min(row, 8)) for row in range(10)]


def test_synonyms_of_part_names_are_understood() -> None:
    meant = task_of(LABELS, PARTS).rounds[0]
    (only,) = task_of(LABELS, [{"train": "Training", "valid": " DEV", "test": "eval"}[part] for part in PARTS]).rounds
    assert [*map(list, (only.train, only.valid, only.test))] == [*map(list, (meant.train, meant.valid, meant.test))]


def labelled(**changes: object) -> LabelledSet:
    """Forty clips of four labels in five folds, four clips to a recording, which stays in its fold."""
    values: dict = {
        "name": "forty",
        "source": "forty/root",
        "sounds": [f"{i}.wav" for i in range(40)],
        "labels": [("dcba"[i % 4],) for i in range(40)],
        "parts": [str(1 + i // 8) for i in range(40)],
        "classes": ["d", "c", "b", "a"],
        "groups": [f"recording {i // 4}" for i in range(40)],
    }
    return LabelledSet(**values | changes)


def test_the_official_order_of_classes_is_kept_and_absent_ones_too() -> None:
    task = Task.of(labelled(classes=["d", "unheard", "c", "b", "a"]), choose="next_fold")
    assert task.classes == ["d", "unheard", "c", "b", "a"]
    assert task.y.tolist() == [0, 2, 3, 4] * 10


@pytest.mark.parametrize("seed", range(5))
def test_a_held_out_tenth_of_folds_never_tears_a_group_nor_touches_the_test_fold(seed: int) -> None:
    made = labelled()
    task, groups = Task.of(made, choose="held_out", seed=seed), np.array(made.groups)
    assert [r.name for r in task.rounds] == [*"12345"]
    for r in task.rounds:
        assert set(np.array(made.parts)[r.test]) == {r.name} and len(r.test) == 8
        assert sorted([*r.train, *r.valid, *r.test]) == [*range(40)]
        parts = [set(groups[part]) for part in (r.train, r.valid, r.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 10
        assert len(r.valid) == 4, "a tenth of 32 clips, in whole recordings"


def test_a_valid_part_is_used_whatever_chooses_elsewhere() -> None:
    parts = ["train"] * 24 + ["valid"] * 8 + ["test"] * 8
    for choose in ("next_fold", "held_out"):
        (only,) = Task.of(labelled(parts=parts), choose=choose).rounds
        assert only.valid.tolist() == [*range(24, 32)]


def test_notes_and_missing_clips_are_carried_along() -> None:
    missing = [Skipped("lost.wav", "no such file")]
    task = Task.of(labelled(notes=["part 1: 8 clips, published 400"], missing=missing), choose="next_fold")
    assert task.notes == ["part 1: 8 clips, published 400"] and task.missing == missing


def test_a_multilabel_clip_may_have_no_label() -> None:
    made = labelled(multilabel=True, labels=[("a", "b"), ()] * 20)
    assert Task.of(made, choose="next_fold").y.sum(1).tolist() == [2, 0] * 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [("a",), ("a", "b")] * 20}, "a clip has 2 (a, b)"),
        ({"labels": [("a",), ()] * 20}, "20 of 40 clips have none"),
        ({"labels": [("a",), ("e",)] * 20}, "e not among the 4 classes"),
        ({"labels": [("a",)] * 40}, "1 class in 40 clips; at least two are needed"),
    ],
)
def test_a_set_that_makes_no_task_is_named(changes: dict, message: str) -> None:
    with pytest.raises(AaspError, match=r"^forty/root: labels: .*; ") as error:
        Task.of(labelled(**changes), choose="next_fold")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_groups_that_share_a_sound_are_held_out_together() -> None:
    """Forty sounds, each annotated twice: a group for every annotation keeps nothing together."""
    made = set_of(["a", "b"] * 40, ["train"] * 60 + ["test"] * 20, groups=[f"annotation {row}" for row in range(80)])
    made = replace(made, sounds=[f"{row // 2}.wav" for row in range(80)])
    for seed in range(5):
        task = Task.of(made, choose="held_out", seed=seed)
        (only,) = task.rounds
        assert not {row // 2 for row in only.train.tolist()} & {row // 2 for row in only.valid.tolist()}
        assert len(set(task.groups[only.test])) == 10 and task.groups[60] == "annotation 60"


def test_tested_classes_with_few_positive_clips_are_named() -> None:
    """Of the 20 clips in the test part 5 have b; the a of 6 clips is enough."""
    labels = ["a;b" if row % 4 == 0 else "a" if row % 20 == 1 else "c" for row in range(40)]
    notes = task_of(labels, ["train"] * 20 + ["test"] * 20).notes
    assert notes == ["test: 1 label(s) with fewer than 6 tested clips; intervals of mAP are too high: b"]
