"""Scores of class predictions: accuracy, macro-F1, mean average precision, the same as scikit-learn's.

n clips, K classes. `weights` (n,) counts a clip several times, as the bootstrap of `intervals` asks for.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, average_precision_score


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of clips whose predicted class index (n,) is the true one (n,)."""
    return float(accuracy_score(truth, predicted, sample_weight=weights))


def macro_f1(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Unweighted mean of the F1 scores of the classes that occur in `truth` (with a weight above zero).

    A class that is predicted but never true adds no term of its own: it already costs the true classes their recall.
    """
    # By counts, not by scikit-learn: a bootstrap asks a thousand times, and its checks take most of the time.
    weights = np.ones(len(truth)) if weights is None else weights
    classes = int(max(truth.max(), predicted.max())) + 1
    hit = truth == predicted
    true, guessed = (np.bincount(of, weights, classes) for of in (truth, predicted))
    f1 = 2 * np.bincount(truth[hit], weights[hit], classes) / np.maximum(true + guessed, 1e-300)
    return float(f1[true > 0].mean())


def mean_average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean over classes of the average precision of `scores` (n, K) against multi-hot `truth` (n, K).

    Classes without a positive clip have no average precision and are left out of the mean; `absent_classes` names them.

    Returns:
        The mean, or NaN when no class has a positive clip.
    """
    positive = (truth if weights is None else truth * weights[:, None]).any(axis=0)
    if not positive.any():
        return float("nan")
    return float(
        average_precision_score(truth[:, positive], scores[:, positive], average="macro", sample_weight=weights)
    )


def absent_classes(truth: np.ndarray, classes: list[str]) -> list[str]:
    """Names of the classes that no clip has, for class indices (n,) or multi-hot truth (n, K)."""
    seen = np.unique(np.nonzero(truth)[1] if truth.ndim == 2 else truth)
    return [name for k, name in enumerate(classes) if k not in seen]
