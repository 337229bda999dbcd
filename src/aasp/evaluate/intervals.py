"""Confidence intervals of a score: percentile bootstrap over clusters of clips and over training seeds.

The scores of clips of one source recording, speaker or instrument are correlated, so clusters are drawn, not clips.
Another training would have given other scores, so if there are several seeds they are drawn too. Every seed is scored
on every clip: clusters and seeds are crossed, and a resample draws both, independently. Two systems are compared on the
same draw of clusters; their seeds are drawn independently unless they are matched in pairs.

- Clusters: G of G with replacement.
  Of clips in folds, a fold counts as often as it is drawn, since it may be a single cluster.
- Seeds: S - 1 of S with replacement, which makes s² / S, the variance of their mean, unbiased; S of S would
  underestimate it by a third at S = 3. A single seed is not resampled: the interval does not cover other trainings.
- The interaction of seed and clip is counted more than once, about three times with two seeds or more (no bootstrap of
  a crossed table avoids that). Of right and wrong answers it is large, so intervals are conservative: simulated with
  three seeds, those of nominally 95 % cover 97 to 100 %. If two or three seeds differ more than clusters do, intervals
  are too narrow.

Resampling cannot show outcomes absent from the sample. Shares (accuracy, macro-F1, mAP) in which fewer than six
clusters differ get the exact interval of `exact`; a score without such an interval and without spread, or with fewer
than six clusters, has no ends: too few to tell. (A measurement that isn't a share and is constant over six clusters or
more is not so by chance.)

The same clusters and seed give the same draws, so intervals of different systems on one test set are paired as well.
n clips, S training seeds, G clusters, R resamples. Source: Efron & Tibshirani 1993, ch. 13 (percentile interval);
Field & Welsh 2007 (whole clusters); Owen 2007, "The pigeonhole bootstrap" (both sides of a crossed table); McCarthy &
Snowden 1985 (S - 1 draws).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from aasp.errors import AaspError
from aasp.evaluate.exact_intervals import LEAST, one_share, paired_shares
from aasp.evaluate.metrics import PLAIN, plain
from aasp.formats import percent_text

Statistic = Callable[[np.ndarray], float]
"""A score of one seed, given the weight of each clip, (n,) ≥ 0."""

DRAWS = 2**24
"""Counts drawn at a time, 128 MB: all resamples of 50,000 clips at once would take gigabytes."""


TOO_FEW = "too few to tell"


def span(low: float | None, high: float | None, number: Callable[[float], str], joint: str = ", ") -> str:
    """The ends of an interval as `78.1, 86.4`, each formatted by `number`; words if there are none."""
    return TOO_FEW if low is None or high is None else f"{number(low)}{joint}{number(high)}"


def clear(low: float | None, high: float | None) -> bool:
    """True when the whole interval lies on one side of zero: what "beats" means in the tables."""
    return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and the number of clusters, clips and seeds.

    Attributes:
        estimate: the score, or the difference.
        low, high: ends of the interval; None if there are too few clusters to tell.
        level: requested coverage.
        clusters, clips, seeds: how many.
        method: how the ends were computed; "none" if there are none.
    """

    estimate: float
    low: float | None
    high: float | None
    level: float
    clusters: int
    clips: int
    seeds: int = 1
    method: Literal["bootstrap", "exact", "none"] = "bootstrap"

    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of zero: what "beats" means in the tables."""
        return clear(self.low, self.high)

    def percent(self, sign: str = "") -> str:
        """The interval as `82.5 [78.1, 86.4]`, in per cent; with a sign for differences."""
        number = lambda value: percent_text(value, sign=sign)
        return f"{number(self.estimate)} [{span(self.low, self.high, number)}]"

    def plain(self, sign: str = "") -> str:
        """The interval as `0.825 [0.781, 0.864]`, for scores that are not shares; with a sign for differences."""
        number = lambda value: plain(value, sign)
        return f"{number(self.estimate)} [{span(self.low, self.high, number)}]"

    def about(self) -> str:
        """How the interval was computed, in words: `95 %, bootstrap over 40 groups of clips`."""
        single = self.clusters == self.clips
        many = "s" if self.clusters > 1 else ""
        some = f"{self.clusters:,} {f'clip{many}' if single else f'group{many} of clips'}"
        if self.method == "none":
            return f"{TOO_FEW}: {some}"
        seeds = f" and {self.seeds} seeds" if self.seeds > 1 else ""
        level, drawn = f"{percent_text(self.level, 0)} %", "clips" if single else some
        return f"{level}, exact, {some}" if self.method == "exact" else f"{level}, bootstrap over {drawn}{seeds}"

    def to_dict(self) -> dict[str, float | str | None]:
        return asdict(self)


def as_text(score: str, one: Mapping[str, Any]) -> str:
    """A score by name, as in `to_dict`, as text: `82.5 [78.1, 86.4] %`, or `0.61 [0.5, 0.7]` for R² and errors."""
    form, unit = (plain, "") if score in PLAIN else (percent_text, " %")
    return f"{form(one['estimate'])} [{span(one['low'], one['high'], form)}]{unit}"


@dataclass(frozen=True)
class Resamples:
    """A score, or a difference, and its value in every resample.

    Attributes:
        estimate: over all clips.
        drawn: value in each resample, (R,).
        systems: one or two, (S, n) scores or S functions each.
        group: cluster number of each clip, (n,).
        folds: fold number of each clip, (n,).
        clusters: G.
    """

    estimate: float
    drawn: np.ndarray
    systems: list[np.ndarray | Sequence[Statistic]]
    group: np.ndarray
    folds: np.ndarray
    clusters: int


def resampled(
    scores: ArrayLike | Sequence[Statistic],
    *,
    minus: ArrayLike | Sequence[Statistic] | None = None,
    clusters: ArrayLike | None = None,
    rounds: ArrayLike | None = None,
    matched: bool = False,
    resamples: int | None = None,
    seed: int = 0,
    seed_of_seeds: int | None = None,
) -> Resamples:
    """Draw clusters and seeds: the resamples behind `interval`. Arguments and errors are those of `interval`.

    `seed_of_seeds` is the seed for drawing training seeds, if several sets with other clusters share the trainings.
    """
    systems = [_system(one) for one in ((scores,) if minus is None else (scores, minus))]
    sizes_n = [one.shape[1] for one in systems if isinstance(one, np.ndarray)]
    clips = sizes_n[0] if sizes_n else len(np.asarray(clusters))
    if any(n != clips for n in sizes_n):
        raise AaspError(f"paired scores: {sizes_n[0]} against {sizes_n[1]} clips; score both systems on the same clips")
    group, sizes = _cluster_index(clusters, clips)
    folds = np.zeros(clips, dtype=int) if rounds is None else np.unique(np.asarray(rounds), return_inverse=True)[1]
    resamples = resamples or (10_000 if len(sizes_n) == len(systems) else 1_000)
    signs = (1.0, -1.0)[: len(systems)]
    estimate, drawn, shares = 0.0, np.zeros(resamples), []
    stream = seed if seed_of_seeds is None else seed_of_seeds
    for number, (sign, system) in enumerate(zip(signs, systems, strict=True), start=1):
        shares.append(_seed_shares(len(system), resamples, np.random.default_rng([stream, 1 if matched else number])))
        whole = np.ones((1, sizes.size)), np.full((1, len(system)), 1 / len(system))
        estimate += sign * float(_drawn(system, group, folds, *whole)[0])
    for block, counts in _cluster_counts(sizes.size, resamples, np.random.default_rng(seed)):
        for sign, system, seeds in zip(signs, systems, shares, strict=True):
            drawn[block] += sign * _drawn(system, group, folds, counts, seeds[block])
    return Resamples(estimate, drawn, systems, group, folds, sizes.size)


def interval(
    scores: ArrayLike | Sequence[Statistic],
    *,
    minus: ArrayLike | Sequence[Statistic] | None = None,
    clusters: ArrayLike | None = None,
    rounds: ArrayLike | None = None,
    matched: bool = False,
    share: bool | None = None,
    resamples: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a mean score or another statistic, or of the difference of two systems on the same clips.

    Args:
        scores: score of each clip, shape (n,), or (S, n) for S training seeds. For statistics other than means over
            clips (macro-F1, mean average precision), S functions of clip weights.
        minus: a second system's scores on the same clips in the same order, in either form and of any number of seeds;
            the difference is taken inside every resample (paired).
        clusters: cluster of each clip, shape (n,), any labels; None treats every clip as its own cluster. Required
            with functions.
        rounds: fold of each clip, shape (n,): the score is then the mean over folds of each fold's mean.
        matched: the seeds of the two systems are matched in pairs (e.g. by initial weights) and drawn in pairs.
        share: scores lie between 0 and 1, so that a lack of variation may be chance; None: true if all are 0 or 1.
        resamples: number of draws; 10,000 for means, 1,000 for functions.
        level: requested coverage.
        seed: seed of the draws.

    Raises:
        AaspError: lengths differ, there is nothing to average, or several clips are in a single cluster (draw clips
            instead).
    """
    found = resampled(
        scores, minus=minus, clusters=clusters, rounds=rounds, matched=matched, resamples=resamples, seed=seed
    )
    systems, group, folds, estimate, drawn = found.systems, found.group, found.folds, found.estimate, found.drawn
    many, clips = found.clusters, len(group)
    share = all(_zeros_and_ones(one) for one in systems) if share is None else share
    made = lambda low, high, how: Interval(estimate, low, high, level, many, clips, len(systems[0]), how)
    few = many < LEAST
    # A resample in which the statistic is undefined (e.g. no positive left in any class) carries no information.
    if share and minus is None:
        low, high, rarer = one_share(estimate, float(np.nanvar(drawn)), many, clips, level)
        if rarer < LEAST or few:
            # Not for a statistic whose variation can't be estimated.
            counted = isinstance(systems[0], np.ndarray) or not (few or estimate in (0.0, 1.0))
            return made(low, high, "exact") if counted else made(None, None, "none")
    elif share and len(arrays := [one for one in systems if isinstance(one, np.ndarray)]) == 2:
        ours, theirs = arrays
        wins, losses = _wins(ours, theirs, matched), _wins(theirs, ours, matched)
        differ = np.unique(group[(wins + losses) > 0]).size
        if differ < LEAST:
            whole = np.ones((1, many)), np.ones((1, 1))
            better, worse = (float(_drawn(one[None], group, folds, *whole)[0]) for one in (wins, losses))
            return made(*paired_shares(better, worse, many, level), "exact")
    low, high = (float(end) for end in np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    return made(None, None, "none") if few or (share and high - low < 1e-12) else made(low, high, "bootstrap")


def _system(scores: ArrayLike | Sequence[Statistic]) -> np.ndarray | Sequence[Statistic]:
    """(S, n) scores, or S functions."""
    if isinstance(scores, Sequence) and scores and all(map(callable, scores)):
        return scores  # type: ignore[return-value]
    return np.atleast_2d(np.asarray(scores, dtype=np.float64))


def _zeros_and_ones(system: np.ndarray | Sequence[Statistic]) -> bool:
    return isinstance(system, np.ndarray) and bool(np.isin(system, (0.0, 1.0)).all())


def _wins(ours: np.ndarray, theirs: np.ndarray, matched: bool) -> np.ndarray:
    """By how much the first system is better on each clip (n,), else 0: a mean over pairs of seeds."""
    lead = ours - theirs if matched else (ours[:, None] - theirs).reshape(-1, ours.shape[1])
    return np.maximum(lead, 0).mean(axis=0)


def _cluster_index(clusters: ArrayLike | None, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Cluster number of each clip (n,) and clips per cluster (G,)."""
    labels = np.arange(clips) if clusters is None else np.asarray(clusters)
    if labels.shape != (clips,):
        raise AaspError(f"clusters: {labels.size} labels for {clips} clips; give one per clip")
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.size < 2 and clips != 1:
        raise AaspError(f"interval: {sizes.size} cluster(s) in {clips} clips; a cluster bootstrap needs two or more")
    return group, sizes


def _cluster_counts(clusters: int, resamples: int, stream: np.random.Generator) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of resamples: which resamples, and how often each cluster is drawn in them, (r, G)."""
    size = max(1, DRAWS // clusters)
    for first in range(0, resamples, size):
        block = slice(first, min(first + size, resamples))
        counts = stream.multinomial(clusters, np.full(clusters, 1 / clusters), size=block.stop - first)
        yield block, counts.astype(np.float64)


def _seed_shares(seeds: int, resamples: int, stream: np.random.Generator) -> np.ndarray:
    """Weight of each seed in each resample, (R, S), rows sum to 1."""
    draws = max(seeds - 1, 1)
    return stream.multinomial(draws, np.full(seeds, 1 / seeds), size=resamples) / draws


def _drawn(
    system: np.ndarray | Sequence[Statistic],
    group: np.ndarray,
    folds: np.ndarray,
    counts: np.ndarray,
    shares: np.ndarray,
) -> np.ndarray:
    """Score of each resample, (R,), given its draws of clusters (R, G) and seeds (R, S)."""
    if not isinstance(system, np.ndarray):
        return np.array(
            [
                sum(share * statistic(count[group]) for statistic, share in zip(system, row, strict=True) if share)
                for count, row in zip(counts, shares, strict=True)
            ]
        )
    total, weight = np.zeros(len(counts)), np.zeros(len(counts))
    for fold in range(folds.max() + 1):
        rows = folds == fold
        drawn = counts @ np.bincount(group[rows], minlength=counts.shape[1])  # clips
        sums_GS = np.stack([np.bincount(group[rows], one[rows], counts.shape[1]) for one in system], axis=1)
        total += ((counts @ sums_GS) * shares).sum(1) / rows.sum()
        weight += drawn / rows.sum()
    return total / weight
