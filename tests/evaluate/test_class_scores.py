"""Class by class, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from aasp.evaluate.class_scores import calibration, class_scores, confusions, mistakes, reliability
from aasp.evaluate.metrics import macro_f1, mean_average_precision

RNG = np.random.default_rng(0)
N, K = 200, 6


def single() -> tuple[np.ndarray, np.ndarray]:
    """Class 5 never occurs, class 4 is never predicted."""
    truth = RNG.integers(0, K - 1, N)
    scores = RNG.random((N, K)) + 0.8 * np.eye(K)[truth]
    scores[:, 4] = 0
    return truth, scores / scores.sum(axis=1, keepdims=True)


def several() -> tuple[np.ndarray, np.ndarray]:
    truth = RNG.random((N, K)) < 0.3
    truth[:, 5] = False
    return truth, np.clip(0.5 * truth + 0.7 * RNG.random((N, K)), 0, 1)


def test_single_labels_agree_with_scikit_learn() -> None:
    truth, probabilities = single()
    found, guess = class_scores(truth, probabilities, np.zeros(N, int)), probabilities.argmax(1)
    for ours, theirs in ((found.precision, precision_score), (found.recall, recall_score), (found.f1, f1_score)):
        expected = theirs(truth, guess, labels=np.arange(K), average=None, zero_division=np.nan)
        np.testing.assert_allclose(ours, expected, atol=1e-12)
    assert found.support.tolist() == np.bincount(truth, minlength=K).tolist() and found.average_precision is None
    assert np.isnan(found.recall[5]) and np.isnan(found.precision[4]) and found.f1[4] == 0
    present = found.support > 0
    assert found.f1[present].mean() == pytest.approx(macro_f1(truth, guess), abs=1e-12)


def test_several_labels_agree_with_scikit_learn() -> None:
    truth, probabilities = several()
    found = class_scores(truth, probabilities, np.zeros(N, int))
    assert found.average_precision is not None
    for k in range(5):
        theirs = average_precision_score(truth[:, k], probabilities[:, k])
        assert found.average_precision[k] == pytest.approx(theirs, abs=1e-12)
    assert np.isnan(found.average_precision[5])
    mean = np.nanmean(found.average_precision)
    assert mean == pytest.approx(mean_average_precision(truth, probabilities), abs=1e-12)


def test_one_class_of_several_labels_is_that_class() -> None:
    truth, probabilities = several()
    alone = class_scores(truth[:, :1], probabilities[:, :1], np.zeros(N, int))
    among = class_scores(truth, probabilities, np.zeros(N, int))
    for name in ("precision", "recall", "f1", "average_precision", "support"):
        assert getattr(alone, name).shape == (1,)
        assert getattr(alone, name)[0] == pytest.approx(getattr(among, name)[0], abs=1e-12)
    assert alone.support[0] == truth[:, 0].sum()
    assert alone.precision[0] == pytest.approx(precision_score(truth[:, 0], probabilities[:, 0] > 0.5), abs=1e-12)


def test_rounds_are_not_ranked_together() -> None:
    truth = np.array([[1], [0], [1], [0]])
    probabilities = np.array([[0.9], [0.8], [0.2], [0.1]])  # the second round's head gives lower probabilities
    found = class_scores(truth, probabilities, np.array([0, 0, 1, 1]))
    assert found.average_precision is not None and found.average_precision[0] == 1
    assert average_precision_score(truth[:, 0], probabilities[:, 0]) < 1


def test_confusions_count_clips() -> None:
    probabilities = np.eye(3)[[0, 1, 1, 2, 0]] * 0.5
    counts = confusions(np.array([0, 0, 1, 2, 2]), probabilities)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_confusions_of_several_labels() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    counts = confusions(truth, np.array([[0.1, 0.2, 0.9], [0.6, 0.1, 0.2], [0.9, 0, 0]]))
    assert counts.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]
    right = confusions(truth, np.array([[0.9, 0.2, 0.1], [0.6, 0.1, 0.2], [0.9, 0, 0]]))
    assert right.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_mistakes_the_surest_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    assert mistakes(np.array([1, 1, 1, 0]), probabilities).tolist() == [1, 3, 0]
    assert mistakes(np.array([[0, 1], [1, 1], [1, 0], [0, 1]]), probabilities).tolist() == [2, 0]


def test_a_clip_without_labels_is_a_mistake_only_if_something_is_predicted() -> None:
    probabilities = np.array([[0.2, 0.4], [0.6, 0.1], [0.4, 0.2], [0.1, 0.9]])
    assert mistakes(np.array([[0, 0], [0, 0], [0, 1], [0, 1]]), probabilities).tolist() == [1, 2]


def test_bins_are_scikit_learn_s() -> None:
    probabilities = np.append(RNG.random(500), [0.0, 0.1, 0.3, 1.0])
    happened = RNG.random(504) < probabilities**2
    found = reliability(probabilities, happened)
    theirs_found, theirs_probabilities = calibration_curve(happened, probabilities, n_bins=10)
    np.testing.assert_allclose(found.frequency, theirs_found, atol=1e-12)
    np.testing.assert_allclose(found.confidence, theirs_probabilities, atol=1e-12)
    assert found.cases.sum() == 504


def test_expected_error_by_hand() -> None:
    found = reliability(np.array([0.15, 0.15, 0.85, 0.95]), np.array([0, 1, 1, 0]))
    assert found.confidence == pytest.approx([0.15, 0.85, 0.95]) and found.frequency.tolist() == [0.5, 1, 0]
    assert found.error == pytest.approx((2 * 0.35 + 0.15 + 0.95) / 4)


def test_calibration_of_single_labels_is_of_the_predicted_class() -> None:
    truth, probabilities = single()
    found, error = calibration(truth, probabilities)
    expected = reliability(probabilities.max(1), probabilities.argmax(1) == truth)
    assert error == expected.error and found.cases.sum() == N
    sure = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert calibration(np.array([1, 0]), sure)[1] == 0 and calibration(np.array([0, 1]), sure)[1] == 1


def test_calibration_of_several_labels_is_class_by_class() -> None:
    truth, probabilities = several()
    found, error = calibration(truth, probabilities)
    errors = [reliability(probabilities[:, k], truth[:, k]).error for k in range(5)]
    assert error == pytest.approx(np.mean(errors)) and found.cases.sum() == N * K
