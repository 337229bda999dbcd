"""Confidence intervals of a score: percentile bootstrap over clusters of clips.

Clips of one source recording, speaker or instrument rise and fall together, so clusters are drawn, not clips. Every
interval of the library comes from here: a mean score, a paired difference of two systems, an average over seeds
(`mean_interval`), and any other weighted statistic such as mean average precision (`statistic_interval`). The same
clusters and seed give the same draws, so intervals of different systems on one test set are paired as well.

n clips, S seeds, G clusters, R resamples. Source: Efron & Tibshirani 1993, ch. 13 (percentile interval); Field & Welsh
2007 (whole clusters drawn, none of the variation inside them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from aasp.errors import AaspError


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile interval, and how many clusters and clips it rests on."""

    estimate: float
    low: float
    high: float
    level: float
    clusters: int
    clips: int

    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of zero: what "beats" means in the tables."""
        return self.low > 0 or self.high < 0

    def percent(self) -> str:
        """The interval as `82.5 [78.1, 86.4]`, in per cent."""
        return f"{100 * self.estimate:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def mean_interval(
    values: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    minus: ArrayLike | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a mean score, or of the difference of two mean scores on the same clips.

    Args:
        values: score per clip, shape (n,); or (S, n) for S training seeds, which are averaged clip by clip. The
            interval then tells how far the average of these seeds depends on the clips; of other seeds it says nothing.
        clusters: cluster of each clip, shape (n,), any labels; None treats every clip as its own cluster.
        minus: a second system's scores on the same clips in the same order, (n,) or (S', n): the difference is taken
            inside every resample (paired).
        resamples: number of bootstrap draws.
        level: coverage asked for.
        seed: seed of the draws.

    Raises:
        AaspError: lengths differ, nothing to average, or only one cluster (no variation between clusters to draw from).
    """
    clip = _seed_average(values)
    if minus is not None:
        other = _seed_average(minus)
        if other.shape != clip.shape:
            raise AaspError(
                f"paired scores: {clip.size} against {other.size} clips; score both systems on the same clips"
            )
        clip = clip - other
    group, sizes = _cluster_index(clusters, clip.size)
    counts = _draws(sizes.size, resamples, seed)
    sums = np.bincount(group, weights=clip, minlength=sizes.size)
    return _interval(clip.mean(), counts @ sums / (counts @ sizes), level, sizes)


def statistic_interval(
    statistic: Callable[[np.ndarray], float],
    clips: int,
    *,
    clusters: ArrayLike | None = None,
    resamples: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a statistic that is not a mean over clips (macro-F1, mean average precision, a difference of two).

    Args:
        statistic: takes one non-negative weight per clip, shape (n,) (how often the clip was drawn), returns the score.
        clips: n.
        clusters, resamples, level, seed: as in `mean_interval`.
    """
    group, sizes = _cluster_index(clusters, clips)
    drawn = [statistic(count[group]) for count in _draws(sizes.size, resamples, seed)]
    return _interval(statistic(np.ones(clips)), np.asarray(drawn), level, sizes)


def _seed_average(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return array.mean(0) if array.ndim == 2 else array


def _cluster_index(clusters: ArrayLike | None, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster number of each clip (n,) and clips per cluster (G,)."""
    labels = np.arange(clips) if clusters is None else np.asarray(clusters)
    if labels.shape != (clips,):
        raise AaspError(f"clusters: {labels.size} labels for {clips} clips; give one per clip")
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.size < 2:
        raise AaspError(f"interval: {sizes.size} cluster(s) in {clips} clips; a cluster bootstrap needs two or more")
    return group, sizes


def _draws(clusters: int, resamples: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn in each resample, (R, G): G draws with replacement."""
    return np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


def _interval(estimate: float, drawn: np.ndarray, level: float, sizes: np.ndarray) -> Interval:
    # A resample in which the statistic is undefined (say, no positive left in any class) carries no information.
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high), level, int(sizes.size), int(sizes.sum()))
