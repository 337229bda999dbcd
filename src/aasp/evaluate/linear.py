"""Linear probing of frozen embeddings: standardisation + L2 logistic regression, everything chosen on validation.

For every round of a task, each candidate (layer, pooling) is fitted on the train part and scored on the valid part: all
of them by ridge regression on the one-hot labels, which is closed form for every penalty at once, the best few by
logistic regression with each penalty. The best of these is fitted again on train + valid and scored once on the test
part. The scaler, the head and every choice see nothing of the test part. Ties in the validation score (they are common
among 80 clips) go to the lower validation loss.

n clips, m of them scored, D dimensions, K classes. Source: the usual protocol of HEAR (Turian et al. 2022), refitted on
train + valid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aasp.errors import AaspError
from aasp.evaluate.intervals import Interval, mean_interval, statistic_interval
from aasp.evaluate.logistic import Head, Rotated
from aasp.evaluate.metrics import accuracy, macro_f1, mean_average_precision
from aasp.evaluate.task import Round, Task

# C of the head times D: the standardised clips have squared norm D, so the same strengths serve every width.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
# Ridge penalty over n D, the sum of the squared singular values.
RIDGES = tuple(10.0 ** (k / 2) for k in range(-12, 1))
# An untrained encoder's 64 candidates on two real sets: eight gave every round the choice that all 64 gave it.
SHORTLIST = 8

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Chosen:
    """What one round chose on its valid part, and the head that it trained on train + valid.

    Attributes:
        key: which features, say (layer, pooling).
        C: penalty, as scikit-learn counts it.
        head: the trained head.
        valid_scores: best validation score (accuracy or mAP) of each key that was fitted by logistic regression.
    """

    key: Any
    C: float
    head: Head
    valid_scores: dict[Any, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ProbeResult:
    """Predictions of the scored clips, in the order of the index.

    Attributes:
        test: indices of the scored clips, (m,).
        truth: class indices (m,), or multi-hot (m, K).
        probabilities: (m, K).
        rounds: number of the round that scored each clip, (m,).
        groups: group of each clip (m,), or None.
        chosen: one per round.
    """

    test: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    rounds: np.ndarray
    groups: np.ndarray | None
    chosen: list[Chosen]

    @property
    def predicted(self) -> np.ndarray:
        """Class index (m,), or multi-hot at probability 0.5 (m, K)."""
        return self.probabilities > 0.5 if self.truth.ndim == 2 else self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """1.0 where the predicted class is the true one (m,), to be paired with another system's. Single-label only."""
        assert self.truth.ndim == 1, "a multi-label clip is not right or wrong as a whole"
        return (self.predicted == self.truth).astype(np.float64)

    @property
    def clusters(self) -> np.ndarray | None:
        """What intervals draw: the groups, or single clips (None) where there is no more than one group."""
        return None if self.groups is None or len(set(self.groups.tolist())) < 2 else self.groups

    def scores(self) -> dict[str, Interval]:
        """Accuracy and macro-F1, or mAP, of the scored clips with 95 % cluster-bootstrap intervals."""
        if self.truth.ndim == 2:
            return {"mAP": statistic_interval(self.average_precision, len(self.test), clusters=self.clusters)}
        f1 = lambda weights: macro_f1(self.truth, self.predicted, weights)
        return {
            "accuracy": mean_interval(self.correct, clusters=self.clusters),
            "macro_f1": statistic_interval(f1, len(self.test), clusters=self.clusters),
        }

    def round_scores(self) -> list[float]:
        """Accuracy or mAP of each round."""
        return [score(self.truth[one], self.probabilities[one]) for one in self._rounds()]

    def average_precision(self, weights: np.ndarray | None = None) -> float:
        """Mean over rounds of the mAP: probabilities of different heads are not ranked together.

        Args:
            weights: how often each clip counts, (m,); a round without a positive clip left drops out of the mean.
        """
        weights = np.ones(len(self.test)) if weights is None else weights
        found = [mean_average_precision(self.truth[i], self.probabilities[i], weights[i]) for i in self._rounds()]
        return float(np.mean([value for value in found if not np.isnan(value)] or [np.nan]))

    def _rounds(self) -> list[np.ndarray]:
        return [np.flatnonzero(self.rounds == number) for number in range(len(self.chosen))]


def linear_probe(
    features: Mapping[Any, np.ndarray],
    task: Task,
    *,
    strengths: Sequence[float] = STRENGTHS,
    shortlist: int = SHORTLIST,
    progress: Progress | None = None,
) -> ProbeResult:
    """Choose features and penalty on validation, train, and score on test, in every round of `task`.

    Args:
        features: candidates: key, say (layer, pooling), to embeddings (n, D); D may differ between candidates.
        task: labels and rounds.
        strengths: candidates for C · D, strong penalty (small value) first.
        shortlist: how many candidates ridge regression lets through to logistic regression.
        progress: called with (candidates done, candidates × rounds).

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """
    for key, X in features.items():
        if len(X) != len(task.y):
            raise AaspError(f"features {key}: {len(X)} rows for {len(task.y)} clips; embed every clip once")
        if not np.isfinite(X).all():
            raise AaspError(f"features {key}: not all finite; the model gives no usable embedding of these clips")
    chosen: list[Chosen] = []
    done, total = 0, len(task.rounds) * len(features)

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for r in task.rounds:
        scores = _choose(features, task, r, strengths, shortlist, tell)
        key = max(scores, key=scores.__getitem__)
        C = scores[key][-1]
        whole = Rotated(features[key][r.refit], task.y[r.refit], len(task.classes))
        head = whole.head(*next(whole.path([C])))
        chosen.append(Chosen(key, C, head, {k: value[0] for k, value in scores.items()}))
    return score_heads(features, task, chosen)


def score_heads(features: Mapping[Any, np.ndarray], task: Task, chosen: list[Chosen]) -> ProbeResult:
    """Let each round's head predict that round's test part."""
    test = task.test
    probabilities, rounds = np.zeros((len(test), len(task.classes))), np.zeros(len(test), dtype=int)
    for number, (r, c) in enumerate(zip(task.rounds, chosen, strict=True)):
        rows = np.searchsorted(test, r.test)
        probabilities[rows] = c.head.probabilities(features[c.key][r.test])
        rounds[rows] = number
    groups = None if task.groups is None else task.groups[test]
    return ProbeResult(test, task.y[test], probabilities, rounds, groups, chosen)


def score(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Accuracy for class indices (n,), mean average precision for multi-hot truth (n, K)."""
    if truth.ndim == 2:
        return mean_average_precision(truth, probabilities)
    return accuracy(truth, probabilities.argmax(axis=1))


def _choose(
    features: Mapping[Any, np.ndarray],
    task: Task,
    r: Round,
    strengths: Sequence[float],
    shortlist: int,
    tell: Callable[[], None],
) -> dict[Any, tuple[float, float, float]]:
    """(validation score, -validation loss, C) of the shortlisted candidates; `tell` hears of each candidate once."""
    best = list(features)
    if len(features) > shortlist:
        ridge = {}
        for number, (key, X) in enumerate(features.items()):
            ridge[key] = _ridge(X, task, r)
            if number >= shortlist:
                tell()
        best = sorted(features, key=ridge.__getitem__, reverse=True)[:shortlist]
    scores = {}
    for key in best:
        scores[key] = _logistic(features[key], task, r, strengths)
        tell()
    return scores


def _ridge(X: np.ndarray, task: Task, r: Round) -> tuple[float, float]:
    """Best (validation score, -squared error) of one candidate over the ridge penalties."""
    fitted = Rotated(X[r.train], task.y[r.train], len(task.classes))
    truth = task.y[r.valid]
    target = truth if task.multilabel else truth[:, None] == np.arange(len(task.classes))
    found = fitted.ridge(fitted.coordinates(X[r.valid]), RIDGES)
    return max((_finite(score(truth, one)), -float(((one - target) ** 2).mean())) for one in found)


def _logistic(X: np.ndarray, task: Task, r: Round, strengths: Sequence[float]) -> tuple[float, float, float]:
    """Best (validation score, -validation loss, C) of one candidate over the penalties."""
    fitted = Rotated(X[r.train], task.y[r.train], len(task.classes))
    coordinates = fitted.coordinates(X[r.valid])
    penalties = [strength / X.shape[1] for strength in strengths]
    found = []
    for C, solution in zip(penalties, fitted.path(penalties, precise=False), strict=True):
        p = fitted.probabilities(coordinates, *solution)
        found.append((_finite(score(task.y[r.valid], p)), -_loss(task.y[r.valid], p), C))
    return max(found)


def _finite(value: float) -> float:
    """0 for the mAP of a valid part without a positive clip: the loss decides then."""
    return 0.0 if np.isnan(value) else value


def _loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy in nats, probabilities held off 0 so that a class unseen in training costs a finite amount."""
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    if truth.ndim == 2:
        return float(-np.where(truth, np.log(p), np.log1p(-p)).sum(axis=1).mean())
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())
