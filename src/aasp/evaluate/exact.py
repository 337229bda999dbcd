"""Intervals of shares where resampling gives none: all clips right, nearly all, two systems alike, few clusters.

A percentile bootstrap of eight clips that are all right says 100 to 100 %: what was never seen is never drawn. These
intervals ask instead which shares could have given what was seen, by the binomial distribution of whole clusters.

- One system: the exact interval of Clopper and Pearson on an effective number of clips, p (1 - p) / variance of the
  score, never more than there are, and less for a variance that few clusters give (Korn & Graubard). All right or all
  wrong, the clusters are counted: that the next one differs has at most the probability 1 - (α/2)^(1/G).
- A paired difference: where the first is better and where the second is, as two shares of clusters with exact
  intervals, put together by squares (MOVER). No difference anywhere gives ± (1 - (α/2)^(1/G)).

G clusters, n clips. Source: Clopper & Pearson 1934; Korn & Graubard 1998, "Confidence intervals for proportions with
small expected number of positive counts"; Zou & Donner 2008 (MOVER); Newcombe 1998 (paired differences).
"""

from __future__ import annotations

import math

from scipy.stats import beta, t

LEAST = 6
"""Clusters that must differ before resampling shows anything: five of one sign come by chance in 2 of 32 cases, 6 %."""


def one_share(share: float, variance: float, clusters: int, clips: int, level: float) -> tuple[float, float, float]:
    """Low and high end of a share, and the rarer outcomes that were seen, counted effectively.

    Args:
        share: of 1.
        variance: of the share, over the resamples of a bootstrap.
        clusters, clips: how many.
        level: requested coverage.
    """
    effective = float(clusters)
    if 0 < share < 1:
        unbiased = variance * clusters / max(clusters - 1, 1)
        effective = min(clips, share * (1 - share) / unbiased) if unbiased > 0 else clips
        if 1 < clusters < clips:  # a variance between few clusters is itself hardly known
            effective *= (t.ppf((1 + level) / 2, clips - 1) / t.ppf((1 + level) / 2, clusters - 1)) ** 2
    low, high = binomial(share, effective, level)
    return low, high, effective * min(share, 1 - share)


def paired_shares(better: float, worse: float, clusters: int, level: float) -> tuple[float, float]:
    """Low and high end of a paired difference.

    Args:
        better, worse: shares in which the first system is better, and the second; their difference is the estimate.
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
