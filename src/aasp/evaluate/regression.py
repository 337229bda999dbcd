"""Numbers predicted from frozen embeddings: standardisation and ridge regression, everything chosen on validation.

For every round of a task each candidate (layer, pooling) is fitted on the train part with each penalty, in closed form,
and scored on the valid part by R². The best is refitted on train and valid, and scored once on the test part.

n clips, D dimensions, r rank. Source: ridge regression by singular values (Hastie, Tibshirani & Friedman 2009, 3.4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from aasp.evaluate.metrics import rank
from aasp.evaluate.probe import Chosen, ProbeResult, Progress, choose_each, each_candidate
from aasp.evaluate.ridge import RIDGES
from aasp.evaluate.task import Round, Task


@dataclass(frozen=True)
class RidgeHead:
    """A linear layer on raw embeddings: number = ((x - mean) / scale) @ weight + bias."""

    mean: np.ndarray  # (D,)
    scale: np.ndarray  # (D,)
    weight: np.ndarray  # (D,)
    bias: float

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """The predicted numbers, (n, 1)."""
        return ((X.astype(np.float64) - self.mean) / self.scale @ self.weight + self.bias)[:, None]


def ridge_heads(X: np.ndarray, y: np.ndarray, ratios: tuple[float, ...] = RIDGES) -> list[RidgeHead]:
    """A head for each penalty `ratio` · n · D, fitted on embeddings (n, D) and numbers (n,)."""
    scaler = StandardScaler().fit(X.astype(np.float64))
    standard, mean = scaler.transform(X.astype(np.float64)), float(y.mean())
    left, singular, right = np.linalg.svd(standard, full_matrices=False)
    projected = singular * (left.T @ (y - mean))
    heads = []
    for ratio in ratios:
        weight = right.T @ (projected / (singular**2 + ratio * X.size))
        heads.append(RidgeHead(scaler.mean_, scaler.scale_, weight, mean))
    return heads


def numbers_probe(features: Mapping[Any, np.ndarray], task: Task, *, progress: Progress | None = None) -> ProbeResult:
    """Choose features and penalty on validation, train, and score on test, in every round of `task`.

    Args:
        features: candidates: key, e.g. (layer, pooling), to embeddings (n, D); D may differ between candidates.
        task: numbers and rounds.
        progress: called with (candidates done, candidates × rounds).

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """

    def choose(features: Mapping[Any, np.ndarray], r: Round, done: Callable[[], None]) -> Chosen:
        def best(X: np.ndarray) -> tuple[float, ...]:
            fitted = zip(RIDGES, ridge_heads(X[r.train], task.y[r.train]), strict=True)
            return max((*rank(task.y[r.valid], head.probabilities(X[r.valid])), ratio) for ratio, head in fitted)

        found = each_candidate(features, best, done)
        key = max(found, key=found.__getitem__)
        ratio = found[key][-1]
        (head,) = ridge_heads(features[key][r.refit], task.y[r.refit], (ratio,))
        return Chosen(key, {"ridge": ratio}, head, {k: value[0] for k, value in found.items()})

    return choose_each(features, task, choose, progress)
