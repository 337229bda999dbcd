"""Linear probing of frozen embeddings: standardisation + L2 logistic regression, everything chosen on validation.

For every round of a task, each candidate (layer, pooling) × penalty is fitted on the train part and scored on the valid
part; the best one is fitted again on train + valid and scored once on the test part. The scaler, the head and every
choice see nothing of the test part. Ties in the validation score (they are common among 80 clips) go to the lower
validation loss.

n clips, D dimensions, K classes. Source: the usual protocol of HEAR (Turian et al. 2022), refitted on train + valid.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from aasp.errors import AaspError
from aasp.evaluate.intervals import Interval, mean_interval, statistic_interval
from aasp.evaluate.logistic import Head, Rotated
from aasp.evaluate.metrics import accuracy, macro_f1, mean_average_precision
from aasp.evaluate.task import Task

# C of the head times D: the standardised clips have squared norm D, so the same strengths serve every width.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)


@dataclass(frozen=True)
class Choice:
    """What one round chose on its valid part, the head it trained, and what that scored on its test part."""

    round: str
    key: Hashable  # which features: (layer, pooling)
    C: float
    valid_score: float
    test_score: float
    head: Head
    valid_scores: dict[Hashable, float]  # best validation score of every key


@dataclass(frozen=True)
class ProbeResult:
    """Predictions on the scored clips, in the order of the index, and what was chosen."""

    test: np.ndarray  # indices of the scored clips (m,)
    truth: np.ndarray  # class indices (m,) or multi-hot (m, K)
    probabilities: np.ndarray  # (m, K)
    folds: np.ndarray  # number of the round that scored each clip (m,)
    clusters: np.ndarray | None  # (m,)
    choices: list[Choice]

    @property
    def predicted(self) -> np.ndarray:
        """Class index (m,), or multi-hot at probability 0.5 (m, K)."""
        return self.probabilities > 0.5 if self.truth.ndim == 2 else self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """1.0 where the predicted class is the true one (m,), for paired intervals of two systems. Single-label only."""
        assert self.truth.ndim == 1, "a multi-label clip is not right or wrong as a whole"
        return (self.predicted == self.truth).astype(np.float64)

    def scores(self) -> dict[str, Interval]:
        """Accuracy and macro-F1, or mean average precision, of the test clips with 95 % cluster-bootstrap intervals."""
        if self.truth.ndim == 2:
            return {"mAP": statistic_interval(self.average_precision, len(self.test), clusters=self.clusters)}
        f1 = lambda weights: macro_f1(self.truth, self.predicted, weights)
        return {
            "accuracy": mean_interval(self.correct, clusters=self.clusters),
            "macro_f1": statistic_interval(f1, len(self.test), clusters=self.clusters),
        }

    def average_precision(self, weights: np.ndarray | None = None) -> float:
        """Mean over rounds of the mean average precision: probabilities of different heads are not ranked together."""
        weights = np.ones(len(self.test)) if weights is None else weights
        rounds = [self.folds == k for k in range(len(self.choices))]
        per_round = [mean_average_precision(self.truth[r], self.probabilities[r], weights[r]) for r in rounds]
        return float(np.nanmean(per_round)) if not np.all(np.isnan(per_round)) else float("nan")


def linear_probe(
    features: Mapping[Hashable, np.ndarray],
    task: Task,
    *,
    strengths: tuple[float, ...] = STRENGTHS,
    progress: Callable[[], object] | None = None,
) -> ProbeResult:
    """Choose features and penalty on validation, train, and score on test, in every round of `task`.

    Args:
        features: candidates: key, say (layer, pooling), to embeddings (n, D); D may differ between candidates.
        task: labels and rounds.
        strengths: candidates for C · D, from strong to weak penalty.
        progress: called once per candidate and round (`len(features) * len(task.rounds)` times).

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """
    for key, X in features.items():
        if len(X) != len(task.y):
            raise AaspError(f"features {key}: {len(X)} rows for {len(task.y)} clips; embed every clip once")
        if not np.isfinite(X).all():
            raise AaspError(f"features {key}: not all finite; the model gives no usable embedding of these clips")
    test = task.test
    probabilities = np.zeros((len(test), len(task.classes)))
    folds = np.zeros(len(test), dtype=int)
    choices = []
    for number, r in enumerate(task.rounds):
        ranked = {key: _rank(X, task, r.train, r.valid, strengths, progress) for key, X in features.items()}
        key = max(ranked, key=lambda k: ranked[k][:2])
        C = ranked[key][2]
        fitted = Rotated(features[key][r.refit], task.y[r.refit], len(task.classes))
        head = fitted.head(*next(fitted.path([C])))
        rows = np.searchsorted(test, r.test)
        probabilities[rows] = head.probabilities(features[key][r.test])
        folds[rows] = number
        test_score = score(task.y[r.test], probabilities[rows])
        best = {k: value[0] for k, value in ranked.items()}
        choices.append(Choice(r.name, key, C, best[key], test_score, head, best))
    clusters = None if task.groups is None else task.groups[test]
    return ProbeResult(test, task.y[test], probabilities, folds, clusters, choices)


def _rank(
    X: np.ndarray,
    task: Task,
    train: np.ndarray,
    valid: np.ndarray,
    strengths: tuple[float, ...],
    progress: Callable[[], object] | None,
) -> tuple[float, float, float]:
    """Best (validation score, -validation loss, C) of one candidate over the penalties."""
    fitted = Rotated(X[train], task.y[train], len(task.classes))
    coordinates = fitted.coordinates(X[valid])
    penalties = [strength / X.shape[1] for strength in strengths]
    found = []
    for C, solution in zip(penalties, fitted.path(penalties, precise=False), strict=True):
        p = fitted.probabilities(coordinates, *solution)
        found.append((score(task.y[valid], p), -_loss(task.y[valid], p), C))
    if progress is not None:
        progress()
    return max(found)


def score(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Accuracy, or mean average precision for multi-hot truth."""
    if truth.ndim == 2:
        return mean_average_precision(truth, probabilities)
    return accuracy(truth, probabilities.argmax(axis=1))


def _loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy in nats, probabilities held off 0 so that a class unseen in training costs a finite amount."""
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    if truth.ndim == 2:
        return float(-np.where(truth, np.log(p), np.log1p(-p)).sum(axis=1).mean())
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())
