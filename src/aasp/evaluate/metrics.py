"""Scores of predictions: accuracy, macro-F1, mean average precision, R², as scikit-learn defines them.

They are implemented here because a bootstrap computes them a thousand times, with clips weighted by how often they were
drawn, and scikit-learn's input checks would take most of that time. Tests compare them with scikit-learn to within
1e-9. n clips, K classes.
"""

from __future__ import annotations

import numpy as np


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of clips whose predicted class index (n,) is the true one (n,)."""
    return float(np.average(truth == predicted, weights=weights))


def macro_f1(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Unweighted mean of the F1 scores of the classes that occur in `truth` (with a weight above zero).

    A class that is predicted but never true adds no term: it already lowers the recall of the true classes.
    """
    weights = np.ones(len(truth)) if weights is None else weights
    classes = int(max(truth.max(), predicted.max())) + 1
    hit = truth == predicted
    true, guessed = (np.bincount(of, weights, classes) for of in (truth, predicted))
    f1 = 2 * np.bincount(truth[hit], weights[hit], classes) / np.maximum(true + guessed, 1e-300)
    return float(f1[true > 0].mean())


PLAIN = ("R2", "MAE")
"""Scores of numeric predictions: not shares of clips, so they are not shown in per cent."""


def plain(value: float, sign: str = "") -> str:
    """Such a score as text, with three digits; no exponent below ten million; differences with a sign."""
    return f"{value:{sign},.0f}" if 1000 <= abs(value) < 1e7 else f"{value:{sign}.3g}"


def r_squared(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Explained share of the variance of `truth` (n,): 1 for a perfect prediction, 0 for its mean, negative if worse.

    Returns:
        NaN if all numbers with a weight are equal.
    """
    weights = np.ones(len(truth)) if weights is None else weights
    drawn = truth[weights > 0]
    if not drawn.size or drawn.min() == drawn.max():  # not spread > 0: the mean of equal numbers is rounded
        return float("nan")
    spread = weights @ np.square(truth - np.average(truth, weights=weights))
    return float(1 - weights @ np.square(truth - predicted) / spread)


def mean_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean over classes of the average precision of `scores` (n, K) against multi-hot `truth` (n, K).

    Returns:
        The mean, or NaN when no class has a positive clip (see `AveragePrecision`).
    """
    return AveragePrecision(truth, scores)(np.ones(len(truth)))


class AveragePrecision:
    """Mean average precision under many weightings of the clips, which are ranked once.

    Clips of equal score are added together. Classes without a positive clip have no average precision and are left out
    of the mean; `absent_classes` names them.

    Args:
        truth: multi-hot labels (n, K).
        scores: (n, K).
    """

    def __init__(self, truth: np.ndarray, scores: np.ndarray) -> None:
        self.order = np.ascontiguousarray(np.argsort(-scores, axis=0, kind="stable").T)  # (K, n)
        hits = np.take_along_axis(truth.T, self.order, axis=1).astype(bool)
        ranked = np.take_along_axis(scores.T, self.order, axis=1)
        # The precision that counts for a clip is the one after the last clip of its score.
        classes, n = hits.shape
        last = np.hstack([ranked[:, 1:] != ranked[:, :-1], np.ones((classes, 1), dtype=bool)])
        end = np.minimum.accumulate(np.where(last, np.arange(n), n)[:, ::-1], axis=1)[:, ::-1]
        # From here on only positive clips, P of them over all classes, which are few.
        self.label, rank = np.nonzero(hits)
        self.clip, self.end = self.order[self.label, rank], end[self.label, rank]
        self.first = np.searchsorted(self.label, self.label)  # index in P of the class's first
        self.after = self.first + np.cumsum(hits, axis=1)[self.label, self.end]  # index after the last of equal score

    def __call__(self, weights: np.ndarray) -> float:
        """The mean when clip i counts `weights[i]` times, (n,); NaN when no class has a positive clip."""
        weight_P = weights[self.clip]
        above_P = np.cumsum(weights[self.order], axis=1)[self.label, self.end]
        hits = np.concatenate([[0.0], np.cumsum(weight_P)])
        precision_P = (hits[self.after] - hits[self.first]) / np.maximum(above_P, 1e-300)
        gained, positives = (np.bincount(self.label, of) for of in (weight_P * precision_P, weight_P))
        present = positives > 0
        return float((gained[present] / positives[present]).mean()) if present.any() else float("nan")


def absent_classes(truth: np.ndarray, classes: list[str]) -> list[str]:
    """Names of the classes without a clip, for class indices (n,) or multi-hot truth (n, K)."""
    seen = np.unique(np.nonzero(truth)[1] if truth.ndim == 2 else truth)
    return [name for k, name in enumerate(classes) if k not in seen]


def score(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Accuracy for class indices (n,), mean average precision for multi-hot truth (n, K), R² for numbers (n,)."""
    if truth.dtype.kind == "f":
        return r_squared(truth, probabilities[:, 0])
    if truth.ndim == 2:
        return mean_average_precision(truth, probabilities)
    return accuracy(truth, probabilities.argmax(axis=1))


def rank(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """The criterion for candidates: the validation score; ties (common with 80 clips) are broken by the lower loss.

    The mAP of a valid part without a positive clip counts as 0, so that the loss decides.
    """
    value = score(truth, probabilities)
    if truth.dtype.kind == "f":
        error = -float(np.square(truth - probabilities[:, 0]).mean())
        return (error if np.isnan(value) else value), error
    # Kept away from 0, so that the loss of a class unseen in training is finite.
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    if truth.ndim == 2:
        return 0.0 if np.isnan(value) else value, float(np.where(truth, np.log(p), np.log1p(-p)).sum(axis=1).mean())
    return value, float(np.log(p[np.arange(len(truth)), truth]).mean())
