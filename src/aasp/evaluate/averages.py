"""One number for several labelled sets: the mean of their scores, or of one system's lead over another.

The interval is also a bootstrap: each resample draws the clusters of each set within that set, as for the set's own
interval, and takes the mean of the sets' scores. Sets are drawn independently, except that sets of the same clips and
clusters share their draws. The interval covers other clips of these sets, not other sets.

n clips, R resamples. Source: ours; the draws are those of `intervals`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from aasp.errors import AaspError
from aasp.evaluate.exact_intervals import LEAST
from aasp.evaluate.intervals import Interval, resampled
from aasp.evaluate.probe import ProbeResult, interval_arguments

RESAMPLES = 1_000
LEVEL = 0.95


def average(
    results: Sequence[ProbeResult],
    minus: Sequence[ProbeResult] | None = None,
    *,
    sources: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean accuracy, or mAP, over sets, or the mean lead over another system, with its 95 % interval.

    Args:
        results: one system's result on each set.
        minus: another system's results on the same sets, in the same order; the differences are paired.
        sources: where each set's clips come from: sets of one source whose tested rows and clusters are equal are sets
            of the same clips. By default all sets are of one source.
        resamples: R.

    Returns:
        The interval; it has no ends if a set has fewer than six clusters or nothing varies.

    Raises:
        AaspError: there is no set, or the systems were scored on different sets.
    """
    if not results or (minus is not None and len(minus) != len(results)):
        others = "" if minus is None else f" against {len(minus)}"
        raise AaspError(f"average over sets: {len(results)}{others}; score both systems on the same sets")
    requested = [interval_arguments([one], None if minus is None else [minus[k]]) for k, one in enumerate(results)]
    clips = [
        (source, one.test.tobytes(), tuple(how["clusters"].tolist()))
        for source, one, how in zip(sources or [None] * len(results), results, requested, strict=True)
    ]
    return average_of(requested, clips, resamples=resamples)


def average_of(
    requested: Sequence[Mapping[str, Any]], clips: Sequence[Hashable], *, resamples: int = RESAMPLES
) -> Interval:
    """Mean over sets of scores, or of differences, of one or more trainings, with its 95 % interval.

    Args:
        requested: arguments of `interval` for each set; all have the same seeds, which are drawn jointly for all sets.
        clips: a key per set, equal for sets of the same clips and clusters.
        resamples: R.

    Returns:
        As `average`.
    """
    seeds: dict[Hashable, int] = {}
    sets, drawn = [], np.zeros(resamples)
    for how, key in zip(requested, clips, strict=True):
        sets.append(resampled(**how, resamples=resamples, seed=seeds.setdefault(key, len(seeds)), seed_of_seeds=0))
        drawn += sets[-1].drawn / len(requested)
    low, high = (float(end) for end in np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    known = min(one.clusters for one in sets) >= LEAST and high - low > 1e-12
    return Interval(
        float(np.mean([one.estimate for one in sets])),
        low if known else None,
        high if known else None,
        LEVEL,
        clusters=sum(one.clusters for one in sets),
        clips=sum(len(one.group) for one in sets),
        seeds=len(sets[0].systems[0]),
        method="bootstrap" if known else "none",
    )
