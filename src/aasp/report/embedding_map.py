"""Embeddings on a plane: clips that a model finds alike lie together."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from aasp.report.style import CATEGORIES, HALO, drawn, panel


def plane(embeddings: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """t-SNE of standardised embeddings (n, D), started from their principal components; shape (n, 2)."""
    standard = StandardScaler().fit_transform(embeddings.astype(np.float64))
    reduced = PCA(min(30, *standard.shape), random_state=seed).fit_transform(standard)
    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(reduced)


@drawn
def embedding_map(points: np.ndarray, labels: np.ndarray, *, title: str) -> Figure:
    """A scatter of points (n, 2) coloured by label, each label written at the densest place of its points."""
    figure, axes = panel(340, title, "", left=4, right=4)
    names = sorted(set(labels.tolist()))
    assert len(names) <= len(CATEGORIES), f"{len(names)} labels for {len(CATEGORIES)} colours"
    for name, color in zip(names, CATEGORIES, strict=False):
        axes.scatter(*points[labels == name].T, s=9, color=color, alpha=0.75, linewidth=0)
    for name in names:
        own = points[labels == name]
        spread = np.linalg.norm(own[:, None] - own[None], axis=-1)
        near = max(1, len(own) // 5)
        middle = own[np.partition(spread, near - 1, axis=1)[:, :near].mean(1).argmin()]
        axes.text(*middle, name, ha="center", va="center", weight="bold", gid=HALO)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return figure
