"""Scores agree with scikit-learn; repeating a clip equals weighing it; absent classes are left out and named."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from aasp.evaluate.metrics import (
    AveragePrecision,
    absent_classes,
    accuracy,
    macro_f1,
    mean_average_precision,
    plain,
    r_squared,
)


@pytest.fixture
def guesses(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(0, 5, 200)
    return truth, np.where(rng.random(200) < 0.6, truth, rng.integers(0, 5, 200))


def test_accuracy_and_macro_f1_agree_with_scikit_learn(guesses: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = guesses
    assert accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted), abs=1e-9)
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="macro"), abs=1e-9)


def test_macro_f1_is_over_the_classes_that_occur() -> None:
    truth, predicted = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    expected = f1_score(truth, predicted, labels=[0, 2], average="macro")
    assert macro_f1(truth, predicted) == pytest.approx(expected, abs=1e-9)
    assert expected > f1_score(truth, predicted, average="macro", zero_division=0)


def test_mean_average_precision_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    truth = rng.random((60, 6)) < 0.3
    scores = rng.random((60, 6)).round(1)  # ties
    expected = np.mean([average_precision_score(truth[:, k], scores[:, k]) for k in range(6)])
    assert mean_average_precision(truth, scores) == pytest.approx(expected, abs=1e-9)


def test_mean_average_precision_leaves_out_classes_without_a_positive(rng: np.random.Generator) -> None:
    truth, scores = rng.random((60, 3)) < 0.3, rng.random((60, 3))
    without = np.column_stack([truth, np.zeros(60, bool)])
    padded = np.column_stack([scores, rng.random(60)])
    assert mean_average_precision(without, padded) == mean_average_precision(truth, scores)
    assert np.isnan(mean_average_precision(np.zeros((4, 2), bool), rng.random((4, 2))))


def test_a_weight_counts_a_clip_so_often(guesses: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    truth, predicted = guesses
    weights = rng.integers(0, 3, len(truth))
    often = np.repeat(np.arange(len(truth)), weights)
    for metric in (accuracy, macro_f1):
        assert metric(truth, predicted, weights) == pytest.approx(metric(truth[often], predicted[often]), abs=1e-9)
    hot, scores = truth[:, None] == np.arange(5), rng.random((len(truth), 5))
    weighted = AveragePrecision(hot, scores)(weights)
    assert weighted == pytest.approx(mean_average_precision(hot[often], scores[often]), abs=1e-9)


@pytest.mark.parametrize("value", [0.1, 3.2, 1e9 + 0.7])
def test_equal_numbers_explain_no_variance(value: float) -> None:
    """The mean of equal numbers is rounded: their spread is not exactly zero."""
    truth, predicted = np.full(7, value), value + np.arange(7.0)
    assert np.isnan(r_squared(truth, predicted))
    weights = np.array([3.0, 1, 2, 0, 0, 0, 0])
    assert np.isnan(r_squared(np.array([value] * 3 + [5.0] * 4), predicted, weights))
    assert np.isnan(r_squared(truth, predicted, np.zeros(7)))
    assert np.isfinite(r_squared(np.array([value] * 6 + [value + 1]), predicted))


def test_absent_classes_are_named() -> None:
    assert absent_classes(np.array([0, 2, 2]), ["a", "b", "c"]) == ["b"]
    assert absent_classes(np.array([[True, False], [True, False]]), ["a", "b"]) == ["b"]


@pytest.mark.parametrize(
    ("value", "expected"), [(0.91234, "0.912"), (-72.08, "-72.1"), (1234.5, "1,234"), (1e9, "1e+09"), (2e-5, "2e-05")]
)
def test_scores_of_numbers_for_a_person(value: float, expected: str) -> None:
    assert plain(value) == expected
