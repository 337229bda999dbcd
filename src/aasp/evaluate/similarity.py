"""Uses of frozen vectors: classification from a few labels per class, the most similar sounds, a map.

Vectors are standardised over the known clips; similarity is the cosine.

n clips, D dimensions, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifier
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from aasp.evaluate.intervals import Interval, interval

LABELS = (1, 5, 20)
"""Labelled clips per class."""
DRAWS = 20
"""Random draws of the labelled clips; a clip's score is the share of draws in which it is classified correctly."""
PENALTY = 0.3
"""Of ridge regression on vectors of length one."""
NEIGHBOURS = 4


def few_labels(
    vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, known: np.ndarray, test: np.ndarray
) -> dict[int, Interval]:
    """Accuracy on test clips of ridge regression on a few labelled clips per class.

    Args:
        vectors: of all clips, shape (n, D).
        classes: of all clips, shape (n,).
        groups: group of each clip, resampled by the intervals, shape (n,).
        known, test: indices of the clips that labels are drawn from, and of the scored clips.

    Returns:
        Accuracy by number of labels per class; a class with fewer clips uses all of them.
    """
    X, names = standardised(vectors, known), np.unique(classes)
    found = {}
    for count in LABELS:
        rng, right = np.random.default_rng(0), np.zeros(len(test))
        for _ in range(DRAWS):
            drawn = np.concatenate([rng.permutation(known[classes[known] == name])[:count] for name in names])
            right += RidgeClassifier(alpha=PENALTY).fit(X[drawn], classes[drawn]).predict(X[test]) == classes[test]
        found[count] = interval(right / DRAWS, clusters=groups[test].tolist(), share=True)
    return found


def neighbours(vectors: np.ndarray, groups: np.ndarray, queries: Sequence[int]) -> list[list[int]]:
    """For each query clip, the most similar clips of other groups, the nearest first.

    Args:
        vectors: of all clips, shape (n, D).
        groups: as in `few_labels`.
        queries: indices of the query clips.
    """
    X = standardised(vectors, np.arange(len(vectors)))
    found = []
    for row in queries:
        similarity = np.where(groups == groups[row], -np.inf, X @ X[row])
        found.append(np.argsort(-similarity, kind="stable")[:NEIGHBOURS].tolist())
    return found


def standardised(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Vectors (n, D) standardised by mean and deviation over the known clips, then scaled to unit length."""
    X = vectors.astype(np.float64)
    X = (X - X[known].mean(0)) / (X[known].std(0) + 1e-6)
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def plane(embeddings: np.ndarray) -> np.ndarray:
    """t-SNE of standardised embeddings (n, D), started from their principal components; shape (n, 2)."""
    standard = StandardScaler().fit_transform(embeddings.astype(np.float64))
    reduced = PCA(min(30, *standard.shape), random_state=0).fit_transform(standard)
    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(reduced)
