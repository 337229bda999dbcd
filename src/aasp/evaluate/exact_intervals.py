"""Intervals of shares where resampling gives none: all or nearly all clips right, equal systems, few clusters.

A percentile bootstrap of eight clips that are all right gives 100 to 100 %: outcomes absent from the sample are never
drawn. These intervals instead contain the shares that could have produced the observed outcome, by the binomial
distribution of whole clusters.

- One system: the exact interval of Clopper and Pearson for an effective number of clips, p (1 - p) / variance of the
  score, at most the actual number, and reduced when few clusters give the variance (Korn & Graubard). If all clips are
  right or all wrong, clusters are counted: the next one differs with a probability of at most 1 - (α/2)^(1/G).
- A paired difference: the shares of clusters in which the first and the second system are better, each with an exact
  interval, combined by squares (MOVER). No difference anywhere gives ± (1 - (α/2)^(1/G)).

G clusters, n clips. Source: Clopper & Pearson 1934; Korn & Graubard 1998, "Confidence intervals for proportions with
small expected number of positive counts"; Zou & Donner 2008 (MOVER); Newcombe 1998 (paired differences).
"""

from __future__ import annotations

import math

from scipy.stats import beta, t

LEAST = 6
"""Clusters that must differ for a bootstrap to be valid: five of one sign occur by chance in 2 of 32 cases, 6 %."""


def one_share(share: float, variance: float, clusters: int, clips: int, level: float) -> tuple[float, float, float]:
    """Low and high end of a share, and the effective count of the rarer outcome.

    Args:
        share: from 0 to 1.
        variance: of the share, over the resamples of a bootstrap.
        clusters, clips: how many.
        level: requested coverage.
    """
    effective = float(clusters)
    if 0 < share < 1:
        unbiased = variance * clusters / max(clusters - 1, 1)
        effective = min(clips, share * (1 - share) / unbiased) if unbiased > 0 else clips
        if 1 < clusters < clips:  # a variance estimated from few clusters is itself uncertain
            effective *= (t.ppf((1 + level) / 2, clips - 1) / t.ppf((1 + level) / 2, clusters - 1)) ** 2
    low, high = binomial(share, effective, level)
    return low, high, effective * min(share, 1 - share)


def paired_shares(better: float, worse: float, clusters: int, level: float) -> tuple[float, float]:
    """Low and high end of a paired difference.

    Args:
        better, worse: shares in which the first or the second system is better; their difference is the estimate.
        clusters: how many.
        level: requested coverage.
    """
    (low_better, high_better), (low_worse, high_worse) = (binomial(p, clusters, level) for p in (better, worse))
    down = math.hypot(better - low_better, high_worse - worse)
    up = math.hypot(high_better - better, worse - low_worse)
    return max(better - worse - down, -1.0), min(better - worse + up, 1.0)


def binomial(share: float, trials: float, level: float) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson; `trials` needn't be whole."""
    tail, hits = (1 - level) / 2, share * trials
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if share > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if share < 1 else 1.0
    return low, high
