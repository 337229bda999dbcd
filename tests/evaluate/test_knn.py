"""The vote of the nearest neighbours against a plain restatement, and its choice of k on validation."""

from __future__ import annotations

import numpy as np
import pytest
from columns import task_of

from aasp.evaluate.knn import NEIGHBOURS, TEMPERATURE, knn_probe
from aasp.evaluate.metrics import accuracy

SPLIT = ["train"] * 60 + ["valid"] * 24 + ["test"] * 36


def restated(X: np.ndarray, labels: np.ndarray, voters: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Clip by clip, label by label."""
    X = X.astype(np.float64)
    standard = (X - X[voters].mean(0)) / X[voters].std(0)
    out = np.zeros((len(queries), labels.shape[1]))
    for row, clip in enumerate(queries):
        cosine = [
            standard[v] @ standard[clip] / np.linalg.norm(standard[v]) / np.linalg.norm(standard[clip]) for v in voters
        ]
        nearest = sorted(range(len(voters)), key=lambda i: -cosine[i])[:k]
        weights = {i: np.exp(cosine[i] / TEMPERATURE) for i in nearest}
        for label in range(labels.shape[1]):
            out[row, label] = sum(w for i, w in weights.items() if labels[voters[i], label]) / sum(weights.values())
    return out


@pytest.mark.parametrize("several", [False, True])
def test_the_vote_is_that_of_a_plain_restatement(several: bool, blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs
    hot = (y[:, None] == np.arange(4)) | (several & (rng.random((120, 4)) < 0.2))
    task = task_of([";".join("abcd"[k] for k in np.flatnonzero(row)) for row in hot], SPLIT)
    found = knn_probe({"x": X}, task)
    k = found.chosen[0].setting["k"]
    expected = restated(X, hot, task.rounds[0].refit, task.rounds[0].test, k)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    if not several:
        by_k = [
            accuracy(y[60:84], restated(X, hot, np.arange(60), np.arange(60, 84), one).argmax(1)) for one in NEIGHBOURS
        ]
        assert by_k[NEIGHBOURS.index(k)] == max(by_k) == found.chosen[0].valid_scores["x"]
        assert found.score > 0.5


def test_there_are_never_more_neighbours_than_clips(blobs: tuple) -> None:
    X, y = blobs
    rows = [*range(0, 12), *range(60, 68), *range(84, 90)]
    task = task_of(y[rows].tolist(), [SPLIT[row] for row in rows])
    found = knn_probe({"x": X[rows]}, task)
    assert found.chosen[0].setting["k"] <= 12
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
