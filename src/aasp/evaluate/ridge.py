"""Ridge regression of frozen embeddings on one-hot labels: closed form for every penalty at once.

As `linear.linear_probe`, with another head: for every round each candidate (layer, pooling) is standardised and fitted
on the train part with each penalty and scored on the valid part; the best is refitted on train + valid and scored once
on the test part. No choice depends on the test part. Ties go to the lower squared error.

n clips, D dimensions, K classes. Source: Hoerl & Kennard 1970; as a classifier, Hastie, Tibshirani & Friedman 2009,
section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aasp.evaluate.logistic import LinearHeadSolver
from aasp.evaluate.metrics import rank
from aasp.evaluate.probe import Chosen, ProbeResult, Progress, check_features, choose_each
from aasp.evaluate.task import Round, Task

# Candidates for the penalty, over n D, the sum of the squared singular values.
RIDGES = tuple(10.0 ** (k / 2) for k in range(-12, 1))

Rank = tuple[float, float, float]
"""Validation score, negative squared error, and the penalty that gives them."""
Ranking = Mapping[str, Mapping[Any, Rank]]
"""The rank of each candidate, by name of the round."""


def ridge_ranking(features: Mapping[Any, np.ndarray], task: Task) -> Ranking:
    """Rank each candidate on the valid part of each round, for `ridge_probe` and `linear_probe` to choose by.

    Args:
        features: candidates: key, e.g. (layer, pooling), to embeddings (n, D).
        task: labels and rounds.

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """
    check_features(features, task)
    return {r.name: {key: best_ridge(X, task, r) for key, X in features.items()} for r in task.rounds}


def ridge_probe(
    features: Mapping[Any, np.ndarray],
    task: Task,
    *,
    ranking: Ranking | None = None,
    progress: Progress | None = None,
) -> ProbeResult:
    """Choose features and penalty on validation, train, and score on test, in every round of `task`.

    Args:
        features, task: as in `ridge_ranking`.
        ranking: result of `ridge_ranking` for these candidates (it may have others), if already computed.
        progress: called with (candidates done, candidates × rounds).

    Returns:
        The result. Its `probabilities` are least-squares estimates, which may lie outside 0 to 1.

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """

    def choose(features: Mapping[Any, np.ndarray], r: Round, done: Callable[[], None]) -> Chosen:
        found = {}
        for key, X in features.items():
            found[key] = ranking[r.name][key] if ranking else best_ridge(X, task, r)
            done()
        key = max(found, key=found.__getitem__)
        ratio = found[key][-1]
        head = LinearHeadSolver(features[key][r.refit], task.y[r.refit], len(task.classes)).ridge_head(ratio)
        return Chosen(key, {"ridge": ratio}, head, {one: value[0] for one, value in found.items()})

    return choose_each(features, task, choose, progress)


def best_ridge(X: np.ndarray, task: Task, r: Round) -> Rank:
    """The rank of one candidate in one round, from embeddings (n, D) of the whole set."""
    fitted = LinearHeadSolver(X[r.train], task.y[r.train], len(task.classes))
    truth = task.y[r.valid]
    target = truth if task.multilabel else truth[:, None] == np.arange(len(task.classes))
    found = fitted.ridge(fitted.coordinates(X[r.valid]), RIDGES)
    return max(
        (rank(truth, one)[0], -float(((one - target) ** 2).mean()), ratio)
        for one, ratio in zip(found, RIDGES, strict=True)
    )
