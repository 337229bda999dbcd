"""The mean over folds and seeds and its deviation, by hand; nothing is averaged that was scored on other clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aasp.evaluate.records import Record
from aasp.evaluate.summary import summarise, versions

ONE = Record("tiny", "runs/tiny", "a", "evar", "b", "esc50", "linear", "1", 0, "accuracy", 0.5, 400, 0, "0.1.0")


def folds(values: list[float], seed: int = 0, **changes: object) -> list[Record]:
    return [replace(ONE, split=str(k), seed=seed, value=value, **changes) for k, value in enumerate(values, start=1)]


def test_five_folds_of_three_seeds() -> None:
    scores = np.array([[0.80, 0.82, 0.78, 0.90, 0.85], [0.81, 0.80, 0.79, 0.91, 0.88], [0.70, 0.82, 0.81, 0.93, 0.84]])
    records = [record for seed, values in enumerate(scores) for record in folds(values.tolist(), seed)]
    found = summarise(records[::-1])
    means = [0.83, 0.838, 0.82]
    assert found.mean == pytest.approx(sum(means) / 3, abs=1e-12)
    assert found.deviation == pytest.approx(0.00901849950564579, abs=1e-12), "the seeds', with two in the denominator"
    assert (found.over, found.seeds, found.folds, found.clips) == ("seeds", 3, 5, 2000)


def test_one_seed_deviates_over_its_folds() -> None:
    found = summarise(folds([0.7, 0.8, 0.9]))
    assert (found.mean, found.deviation, found.over) == (pytest.approx(0.8), pytest.approx(0.1), "folds")


def test_folds_count_equally_whatever_their_size() -> None:
    first, second = folds([0.5, 1.0])
    assert summarise([replace(first, clips=100), replace(second, clips=300)]).mean == 0.75


def test_seeds_of_one_part() -> None:
    found = summarise([replace(ONE, split="test", seed=seed, value=value) for seed, value in ((3, 0.6), (7, 0.8))])
    assert found.mean == pytest.approx(0.7) and found.deviation == pytest.approx(0.1 * 2**0.5)
    assert (found.over, found.split, found.clips) == ("seeds", "test", 400)


def test_a_single_score_has_its_interval() -> None:
    found = summarise([replace(ONE, split="test", low=0.4, high=0.6)])
    assert (found.mean, found.deviation, found.over, found.interval) == (0.5, None, None, (0.4, 0.6))
    assert summarise([ONE]).interval is None


def test_missing_clips_are_those_of_the_set_not_of_every_fold() -> None:
    assert summarise(folds([0.5, 0.6], missing=12)).missing == 12


def test_seeds_that_scored_the_same_belong_together() -> None:
    whole, again, unfinished = folds([0.5, 0.6], 0), folds([0.6, 0.7], 1), folds([0.9], 2)
    other = folds([0.5, 0.6], 3, clips=398, missing=4)
    assert versions([*unfinished, *other, *again, *whole]) == [[*again, *whole], other, unfinished]


def test_a_part_is_not_a_fold() -> None:
    test, valid = replace(ONE, split="test"), replace(ONE, split="valid", value=0.9)
    assert versions([test, valid]) == [[test], [valid]]
