"""k nearest neighbours of frozen embeddings: no training, a weighted vote of the most similar labelled clips.

Embeddings are standardised by the statistics of the clips that vote, similarity is the cosine, and a neighbour's vote
weighs exp(similarity / 0.07). Candidate (layer, pooling) and k are chosen by letting the train part vote on the valid
part; train and valid together then vote on the test part. For several labels, a label's score is the share of the votes
that have it.

n clips, m of them queries, N voters, D dimensions, K classes. Source: Wu et al. 2018 (weighted vote, temperature), as
DINO (Caron et al. 2021) uses it; standardising first is ours: raw pooled tokens all point in the same direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from aasp.evaluate.metrics import rank
from aasp.evaluate.probe import Chosen, ProbeResult, Progress, choose_each, each_candidate
from aasp.evaluate.task import Round, Task

NEIGHBOURS = (1, 5, 10, 20, 50)
"""Candidates for k, limited to the number of voters."""
TEMPERATURE = 0.07
CHUNK = 256


@dataclass(frozen=True)
class Voters:
    """Labelled clips that vote: unit vectors (N, D), labels (N, K), the scaler's mean and scale (D,), and k."""

    mean: np.ndarray
    scale: np.ndarray
    units: np.ndarray
    labels: np.ndarray
    k: int

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        return self.votes(X, [self.k])[0]

    def votes(self, X: np.ndarray, ks: Sequence[int]) -> list[np.ndarray]:
        """Shares of the votes (m, K) on embeddings (m, D), for each number of neighbours, 1 ≤ k ≤ N."""
        units = _units((X - self.mean) / self.scale)
        out = [np.zeros((len(X), self.labels.shape[1])) for _ in ks]
        for start in range(0, len(X), CHUNK):
            similarity = units[start : start + CHUNK] @ self.units.T
            # Sorting all voters would take longer than everything else.
            nearest = np.argpartition(-similarity, max(ks) - 1, axis=1)[:, : max(ks)]
            order = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
            nearest = np.take_along_axis(nearest, order, axis=1)
            weight = np.exp(np.take_along_axis(similarity, nearest, axis=1).astype(np.float64) / TEMPERATURE)
            for votes, k in zip(out, ks, strict=True):
                cast = (weight[:, :k, None] * self.labels[nearest[:, :k]]).sum(1)
                votes[start : start + CHUNK] = cast / weight[:, :k].sum(1, keepdims=True)
        return out


def knn_probe(
    features: Mapping[Any, np.ndarray],
    task: Task,
    *,
    progress: Progress | None = None,
) -> ProbeResult:
    """Choose features and k on validation, and let train and valid vote on test, in every round of `task`.

    Args:
        features: candidates: key, e.g. (layer, pooling), to embeddings (n, D).
        task: labels and rounds.
        progress: called with (candidates done, candidates × rounds).

    Raises:
        AaspError: a candidate has another number of clips than the task, or values that are not finite.
    """

    def choose(features: Mapping[Any, np.ndarray], r: Round, done: Callable[[], None]) -> Chosen:
        ks = sorted({min(k, len(r.train)) for k in NEIGHBOURS})

        def best(X: np.ndarray) -> tuple[float, ...]:
            votes = _voters(X, task, r.train, ks[0]).votes(X[r.valid], ks)
            return max((*rank(task.y[r.valid], p), k) for p, k in zip(votes, ks, strict=True))

        found = each_candidate(features, best, done)
        key = max(found, key=found.__getitem__)
        k = int(found[key][-1])
        head = _voters(features[key], task, r.refit, k)
        return Chosen(key, {"k": k}, head, {one: value[0] for one, value in found.items()})

    return choose_each(features, task, choose, progress)


def _voters(X: np.ndarray, task: Task, rows: np.ndarray, k: int) -> Voters:
    scaler = StandardScaler().fit(X[rows].astype(np.float64))
    mean, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    y = task.y[rows]
    labels = y if task.multilabel else y[:, None] == np.arange(len(task.classes))
    return Voters(mean, scale, _units((X[rows] - mean) / scale), labels, k)


def _units(X: np.ndarray) -> np.ndarray:
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
