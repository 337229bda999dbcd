"""Intervals cover what they claim on clustered data; the bootstrap over single clips would not."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.errors import AaspError
from aasp.evaluate.intervals import mean_interval, statistic_interval


def clustered(rng: np.random.Generator, clusters: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Scores around 0 that rise and fall with their cluster, of 1 to 9 clips each: (n,), (n,)."""
    sizes = rng.integers(1, 10, clusters)
    group = np.repeat(np.arange(clusters), sizes)
    return rng.normal(size=clusters)[group] + 0.5 * rng.normal(size=len(group)), group


def test_coverage_on_clustered_data(rng: np.random.Generator) -> None:
    covered = {"clusters": 0, "clips": 0}
    for _ in range(250):
        values, group = clustered(rng)
        for name, clusters in (("clusters", group), ("clips", None)):
            found = mean_interval(values, clusters=clusters, resamples=300)
            covered[name] += found.low <= 0 <= found.high
    # 95 % asked for; forty clusters of unequal size and a percentile interval give a little less.
    assert 0.90 <= covered["clusters"] / 250 <= 0.98
    assert covered["clips"] / 250 < 0.80


def test_pairing_takes_out_what_both_systems_share(rng: np.random.Generator) -> None:
    shared, group = clustered(rng)
    other = shared - 0.2 + 0.1 * rng.normal(size=len(shared))
    paired = mean_interval(shared, minus=other, clusters=group)
    alone = mean_interval(shared, clusters=group)
    assert paired.estimate == pytest.approx((shared - other).mean())
    assert paired.low < 0.2 < paired.high and paired.excludes_zero()
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_equal_systems_differ_by_nothing(rng: np.random.Generator) -> None:
    values, group = clustered(rng)
    found = mean_interval(values, minus=values, clusters=group)
    assert (found.estimate, found.low, found.high) == (0, 0, 0) and not found.excludes_zero()


def test_seeds_are_averaged_clip_by_clip(rng: np.random.Generator) -> None:
    values, group = clustered(rng)
    seeds = np.stack([values, values + 1, values - 1 + 0.3 * rng.normal(size=len(values))])
    assert mean_interval(seeds, clusters=group) == mean_interval(seeds.mean(0), clusters=group)


def test_a_statistic_that_is_a_mean_gives_the_mean_interval(rng: np.random.Generator) -> None:
    values, group = clustered(rng)
    average = lambda weights: float(np.average(values, weights=weights))
    a = statistic_interval(average, len(values), clusters=group, resamples=500)
    b = mean_interval(values, clusters=group, resamples=500)
    assert (a.estimate, a.low, a.high) == pytest.approx((b.estimate, b.low, b.high))
    assert (a.clusters, a.clips) == (40, len(values))


def test_whole_clusters_are_drawn() -> None:
    group = np.repeat([0, 1], [3, 7])
    seen = []
    statistic_interval(lambda weights: seen.append(weights) or 0.0, 10, clusters=group, resamples=50)
    assert all(len(set(weights[:3])) == len(set(weights[3:])) == 1 for weights in seen)
    assert len({(weights[0], weights[3]) for weights in seen}) > 2


@pytest.mark.parametrize(
    ("clusters", "minus", "told"),
    [([0, 0, 0], None, "1 cluster"), ([0, 1], None, "2 labels for 3 clips"), (None, [1.0, 0.0], "3 against 2")],
)
def test_what_has_no_interval(clusters: list | None, minus: list | None, told: str) -> None:
    with pytest.raises(AaspError, match=told):
        mean_interval([1.0, 0.0, 1.0], clusters=clusters, minus=minus)
