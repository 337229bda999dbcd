"""Rows of an index on a plane, in clusters, and as a picture of their density.

The t-SNE covers a few thousand rows; each other row is placed between its five nearest rows among them. A t-SNE of all
rows would take an hour for 100,000 (docs/map-and-label.md). N rows, D width.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib.image import imsave
from sklearn.cluster import MiniBatchKMeans

from aasp.evaluate.similarity import plane
from aasp.index.nearest import nearest

FITTED = 4_000
NEIGHBOURS = 5
PIXELS = 512
_QUERIES = 2_048  # at once, to limit the size of their similarities


def on_plane(vectors: np.ndarray) -> np.ndarray:
    """Positions of unit vectors (N, D) on a plane, float32 (N, 2), from -1 to 1; similar vectors are close."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:FITTED])
    base = np.asarray(vectors[chosen], np.float32)
    places = _spiral(len(base)) if len(np.unique(base, axis=0)) < 4 else plane(base)
    found = np.empty((len(vectors), 2))
    found[chosen] = places
    others = np.setdiff1d(np.arange(len(vectors)), chosen, assume_unique=True)
    for begin in range(0, len(others), _QUERIES):
        rows = others[begin : begin + _QUERIES]
        near, cosine = nearest(base.astype(np.float16), np.asarray(vectors[rows], np.float32), NEIGHBOURS)
        weight = 1 / np.maximum(1 - cosine, 1e-3)[..., None]
        found[rows] = (places[near] * weight).sum(1) / weight.sum(1)
    low, high = found.min(0), found.max(0)
    return ((found - (low + high) / 2) / max((high - low).max() / 2, 1e-9)).astype(np.float32)


def clusters(vectors: np.ndarray, count: int) -> np.ndarray:
    """Number of each row's k-means cluster, int64 (N,), 0 for the largest; at most `count` clusters."""
    fit = MiniBatchKMeans(min(count, len(vectors)), batch_size=4_096, n_init=3, random_state=0)
    labels = fit.fit_predict(np.asarray(vectors, np.float32))
    _, of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[of]


def density(places: np.ndarray) -> bytes:
    """A PNG of the density of positions (N, 2) in [-1, 1]²: grey, opaque where it is highest."""
    counts, _, _ = np.histogram2d(-places[:, 1], places[:, 0], bins=PIXELS, range=[[-1, 1], [-1, 1]])
    picture = np.full((PIXELS, PIXELS, 4), 128, np.uint8)
    picture[..., 3] = np.round(255 * np.log1p(counts) / np.log1p(max(counts.max(), 1)))
    file = io.BytesIO()
    imsave(file, picture, format="png")
    return file.getvalue()


def _spiral(count: int) -> np.ndarray:
    """Positions (count, 2) spread evenly over a disc, for rows with fewer than four distinct vectors."""
    number = np.arange(count) + 0.5
    angle = number * np.pi * (3 - np.sqrt(5))
    return np.sqrt(number)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
