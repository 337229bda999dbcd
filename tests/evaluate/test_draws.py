"""Subsets keep the proportions of the whole, few labels are nested, and draws within groups are random by seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from columns import set_of, task_of

from aasp.evaluate.draws import few, few_label_rounds, thin_set, thinned

GROUPS = np.repeat(np.arange(10), [30, 2, 8, 20, 10, 5, 5, 10, 6, 4])


def test_groups_keep_their_share() -> None:
    rows = np.random.default_rng(0).permutation(100)
    kept = thinned(rows, GROUPS, 50)
    assert len(kept) == len(set(kept.tolist())) == 50 and (np.diff(kept) > 0).all()
    counts = np.bincount(GROUPS[kept], minlength=10)
    assert (np.abs(counts - np.bincount(GROUPS) / 2) <= 0.5).all()
    np.testing.assert_array_equal(thinned(rows, GROUPS, 100), np.arange(100))
    np.testing.assert_array_equal(thinned(rows, GROUPS, 50), kept)


def test_the_draw_within_groups_is_random_by_seed() -> None:
    one, two = (thinned(np.arange(1000), None, 100, seed) for seed in (0, 1))
    assert len(one) == len(two) == 100 and one.tolist() != two.tolist()
    assert abs(one.mean() - 500) < 100


def test_each_part_of_a_set_keeps_its_share_whatever_the_labels() -> None:
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 30
    labelled = set_of([f"{i % 4}" for i in range(100)], parts, [f"{g}" for g in GROUPS])
    other = replace(labelled, labels=labelled.labels[::-1])
    seconds = np.arange(100.0)
    thin, kept_seconds = thin_set(labelled, seconds, clips=50, hours=1.0)
    assert [thin.parts.count(part) for part in ("train", "valid", "test")] == [30, 5, 15]
    rows = [int(str(sound).removesuffix(".wav")) for sound in thin.sounds]
    assert kept_seconds.tolist() == seconds[rows].tolist()
    assert [thin.groups[i] for i in range(50)] == [f"{GROUPS[row]}" for row in rows]  # type: ignore[index]
    assert thin_set(other, seconds, clips=50, hours=1.0)[0].sounds == thin.sounds
    assert len(thin_set(labelled, np.full(100, 72.0), clips=100, hours=0.5)[0]) == 24  # each part rounds down
    assert thin_set(labelled, seconds, clips=100, hours=100.0)[0] is labelled


def test_few_labels_cover_each_class_and_larger_draws_contain_smaller() -> None:
    y = np.array([0] * 40 + [1] * 3 + [2] * 20)
    rows = np.concatenate([np.arange(40), [40, 41, 42], np.arange(50, 63)])
    one, five, twenty = (few(y, rows, k) for k in (1, 5, 20))
    assert np.bincount(y[one]).tolist() == [1, 1, 1]
    assert np.bincount(y[five]).tolist() == [5, 3, 5]
    assert np.bincount(y[twenty]).tolist() == [20, 3, 13]
    assert set(one) <= set(five) <= set(twenty) <= set(rows)
    assert few(y, rows, 5, seed=1).tolist() != five.tolist()
    np.testing.assert_array_equal(few(y, rows[::-1], 5), five)


def test_parts_train_on_the_train_part_alone_and_test_a_thinner_test_part() -> None:
    parts = ["train"] * 60 + ["valid"] * 10 + ["test"] * 30
    task = task_of([f"{i % 4}" for i in range(100)], parts, GROUPS)
    (one,) = few_label_rounds(task, 5, 15)
    assert len(one.train) == 20 and set(one.train) <= set(range(60)) and one.valid.size == 0
    assert len(one.test) == 15 and set(one.test) <= set(range(70, 100))
    (all_,) = few_label_rounds(task, 5, 1000)
    np.testing.assert_array_equal(all_.test, np.arange(70, 100))


def test_folds_are_all_tested_by_two_trainings() -> None:
    folds = [i // 20 for i in range(100)]
    task = task_of([f"{i % 4}" for i in range(100)], folds)
    one, two = few_label_rounds(task, 2, 50)
    assert set(one.train) <= set(range(60)) and set(one.test) <= set(range(60, 100))
    assert set(two.train) <= set(range(60, 100)) and set(two.test) <= set(range(60))
    assert (len(one.train), len(two.train), len(one.test), len(two.test)) == (8, 8, 20, 30)
