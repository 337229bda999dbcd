"""Per-class scores, confusions and calibration of a classifier.

A clip's predicted class is the most probable one; in multi-label tasks, all classes above one half. n clips, K classes,
B bins. Source: scikit-learn's definitions; the expected calibration error is that of Guo et al. 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support

BINS = 10
"""Of equal width; a probability on an edge belongs to the bin below, as in scikit-learn."""


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, 0 to 1; NaN if it is never true (recall), never predicted (precision) or neither (F1).

    Attributes:
        precision, recall, f1: over all clips, (K,).
        average_precision: mean over the rounds that have a clip of the class, (K,); None in single-label tasks.
        support: clips of the class, (K,).
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    average_precision: np.ndarray | None
    support: np.ndarray


@dataclass(frozen=True)
class Reliability:
    """Predicted probability and observed frequency in bins of equal width from 0 to 1; empty bins are left out.

    Attributes:
        confidence: mean predicted probability in each bin, (B,).
        frequency: share of positive cases in each bin, (B,).
        cases: number of cases in each bin, (B,).
    """

    confidence: np.ndarray
    frequency: np.ndarray
    cases: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance between `confidence` and `frequency`, weighted by cases."""
        return float(np.average(np.abs(self.confidence - self.frequency), weights=self.cases))


def class_scores(truth: np.ndarray, probabilities: np.ndarray, rounds: np.ndarray) -> ClassScores:
    """Scores of each class.

    Args:
        truth: class indices (n,), or multi-hot (n, K).
        probabilities: (n, K).
        rounds: number of the round that scored each clip, (n,); probabilities of different rounds are not ranked
            together.
    """
    several = truth.ndim == 2
    if several:  # an empty column is added, since scikit-learn takes a single one as two classes
        true, predicted = (np.pad(hot, ((0, 0), (0, 1))) for hot in (truth.astype(bool), probabilities > 0.5))
    else:
        true, predicted = truth, probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=np.arange(probabilities.shape[1]), zero_division=np.nan
    )
    average = _average_precision(truth.astype(bool), probabilities, rounds) if several else None
    return ClassScores(precision, recall, f1, average, support)


def confusions(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Confusion matrix: number of clips of each class (row) predicted as each class (column), (K, K).

    In multi-label tasks each label of a clip adds one count: in the column of the most probable class if that is none
    of the clip's labels, else on the diagonal.
    """
    best, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    if truth.ndim == 1:
        return confusion_matrix(truth, best, labels=np.arange(classes))
    clip, label = np.nonzero(truth)
    right = truth[clip, best[clip]].astype(bool)
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (label, np.where(right, label, best[clip])), 1)
    return counts


def mistakes(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The clips whose most probable class is not (one of) their label(s), most confident first: indices (m,).

    A clip without labels is a mistake if a class is predicted.
    """
    best = probabilities.argmax(axis=1)
    highest = probabilities[np.arange(len(best)), best]
    if truth.ndim == 1:
        wrong = best != truth
    else:
        wrong = ~truth[np.arange(len(truth)), best].astype(bool) & (truth.any(axis=1) | (highest > 0.5))
    rows = np.flatnonzero(wrong)
    return rows[np.argsort(-highest[rows], kind="stable")]


def reliability(predicted: np.ndarray, happened: np.ndarray) -> Reliability:
    """Compare predicted probabilities with outcomes.

    Args:
        predicted: predicted probabilities, (n,).
        happened: whether each predicted case was true, (n,).
    """
    number = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], predicted)
    cases = np.bincount(number, minlength=BINS)
    some = cases > 0
    mean = lambda values: np.bincount(number, values, BINS)[some] / cases[some]
    return Reliability(mean(predicted), mean(happened), cases[some])


def calibration(truth: np.ndarray, probabilities: np.ndarray) -> tuple[Reliability, float]:
    """The reliability diagram and the expected calibration error.

    Single-label: the probability of the predicted class against whether it is right. Multi-label: every class of every
    clip is one case in the diagram, and the error is the mean of the errors of the classes that occur.

    Args:
        truth: class indices (n,), or multi-hot (n, K).
        probabilities: (n, K).
    """
    if truth.ndim == 1:
        found = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)
        return found, found.error
    occurs = np.flatnonzero(truth.any(axis=0))
    errors = [reliability(probabilities[:, k], truth[:, k]).error for k in occurs]
    return reliability(probabilities.ravel(), truth.ravel()), float(np.mean(errors))


def _average_precision(truth: np.ndarray, probabilities: np.ndarray, rounds: np.ndarray) -> np.ndarray:
    total, times = np.zeros(truth.shape[1]), np.zeros(truth.shape[1])
    for number in np.unique(rounds):
        own, scores = truth[rounds == number], probabilities[rounds == number]
        for k in np.flatnonzero(own.any(axis=0)):
            total[k] += average_precision_score(own[:, k], scores[:, k])
            times[k] += 1
    return np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0)
