"""Intervals cover what they claim on clusters crossed with seeds; drawing single clips, or no seeds, would not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from aasp.errors import AaspError
from aasp.evaluate import intervals
from aasp.evaluate.exact_intervals import binomial
from aasp.evaluate.intervals import interval, span


def clustered(rng: np.random.Generator, clusters: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Scores around 0 that vary by cluster, with 1 to 9 clips each: (n,), (n,)."""
    sizes = rng.integers(1, 10, clusters)
    group = np.repeat(np.arange(clusters), sizes)
    return rng.normal(size=clusters)[group] + 0.5 * rng.normal(size=len(group)), group


@pytest.mark.slow
def test_coverage_on_clustered_data(rng: np.random.Generator) -> None:
    covered = {"clusters": 0, "clips": 0}
    for _ in range(250):
        values, group = clustered(rng)
        for name, clusters in (("clusters", group), ("clips", None)):
            found = interval(values, clusters=clusters, resamples=300)
            covered[name] += found.low <= 0 <= found.high
    # 95 % nominal; forty clusters of unequal size and a percentile interval give a little less.
    assert 0.90 <= covered["clusters"] / 250 <= 0.98
    assert covered["clips"] / 250 < 0.80


def test_pairing_removes_shared_variance(rng: np.random.Generator) -> None:
    shared, group = clustered(rng)
    other = shared - 0.2 + 0.1 * rng.normal(size=len(shared))
    paired = interval(shared, minus=other, clusters=group)
    alone = interval(shared, clusters=group)
    assert paired.estimate == pytest.approx((shared - other).mean())
    assert paired.low < 0.2 < paired.high and paired.excludes_zero()
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_equal_systems_differ_by_nothing(rng: np.random.Generator) -> None:
    values, group = clustered(rng)
    found = interval(values, minus=values, clusters=group)
    assert (found.estimate, found.low, found.high) == (0, 0, 0) and not found.excludes_zero()


def test_coverage_on_clusters_crossed_with_seeds(rng: np.random.Generator) -> None:
    """Five trainings, whose mean varies half as much as that of the forty clusters."""
    group, covered = np.repeat(np.arange(40), 5), {"crossed": 0, "clusters alone": 0}
    for _ in range(200):
        values = rng.normal(size=40)[group] + 0.2 * rng.normal(size=(5, 1)) + rng.normal(size=(5, 200))
        for name, scores in (("crossed", values), ("clusters alone", values.mean(0))):
            found = interval(scores, clusters=group, resamples=300)
            covered[name] += found.low <= 0 <= found.high
    assert 0.91 <= covered["crossed"] / 200 <= 0.99
    assert covered["clusters alone"] < covered["crossed"] - 4


def test_drawing_in_blocks_changes_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    values, group = clustered(rng)
    folds, other = np.arange(len(values)) % 3, values**2
    ask = lambda: interval([values, other], minus=other, clusters=group, rounds=folds, resamples=101)
    at_once = ask()
    monkeypatch.setattr(intervals, "DRAWS", 7 * 40)  # seven of the 101 resamples at a time
    in_blocks = ask()
    assert in_blocks.low == pytest.approx(at_once.low, abs=1e-12)
    assert in_blocks.high == pytest.approx(at_once.high, abs=1e-12)


def test_one_seed_is_the_bootstrap_over_clusters_alone(rng: np.random.Generator) -> None:
    """Restated: as many clusters as there are, with replacement, and the mean over their clips."""
    values, group = clustered(rng)
    counts = np.random.default_rng(7).multinomial(40, np.full(40, 1 / 40), size=500)
    means = [np.average(values, weights=count[group]) for count in counts]
    for scores in (values, values[None]):
        found = interval(scores, clusters=group, resamples=500, seed=7)
        assert (found.estimate, found.seeds) == (pytest.approx(values.mean()), 1)
        assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_without_variation_between_clusters_the_variance_is_that_of_the_seeds_mean() -> None:
    """S - 1 seeds are drawn, of whose mean the variance is s² / S."""
    levels = np.array([0.1, 0.4, 0.5, 0.9])
    found = interval(np.repeat(levels[:, None], 50, axis=1), resamples=20_000, level=0.8)
    # All draws of three of the four, each as likely.
    means = np.sort([levels[list(drawn)].mean() for drawn in np.ndindex(4, 4, 4)])
    assert means.var() == pytest.approx(levels.var(ddof=1) / 4)
    assert (found.low, found.high) == pytest.approx((means[6], means[57])), "10 and 90 % of 64"
    assert (found.estimate, found.seeds) == (pytest.approx(levels.mean()), 4)


def test_seeds_of_two_systems_are_drawn_apart_unless_they_are_matched(rng: np.random.Generator) -> None:
    values, group = clustered(rng)
    seeds = values + np.array([[-0.5], [0.0], [0.5]])
    apart = interval(seeds + 0.1, minus=seeds, clusters=group, resamples=2000)
    matched = interval(seeds + 0.1, minus=seeds, clusters=group, resamples=2000, matched=True)
    assert apart.low < 0 < apart.high and apart.estimate == pytest.approx(0.1)
    assert (matched.low, matched.high) == pytest.approx((0.1, 0.1))


def test_systems_may_have_different_numbers_of_seeds(rng: np.random.Generator) -> None:
    values, group = clustered(rng)
    found = interval(np.stack([values] * 3) + 0.2, minus=values, clusters=group, resamples=500)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2)) and found.seeds == 3


def test_folds_count_equally_however_many_clips_they_have(rng: np.random.Generator) -> None:
    rounds, values = np.repeat([3, 7], [90, 10]), np.repeat([0.9, 0.5], [90, 10])
    assert interval(values, resamples=10).estimate == pytest.approx(0.86)
    assert interval(values, rounds=rounds, resamples=10).estimate == pytest.approx(0.7)
    found = interval(rng.normal(size=100), rounds=rounds, clusters=np.arange(100) // 10, resamples=2000)
    assert np.isfinite([found.low, found.high]).all(), "often nothing of the small fold is drawn"


def test_folds_of_one_cluster_are_drawn_with_replacement(rng: np.random.Generator) -> None:
    """Leaving one speaker out: with as many clips of each, that is the interval over speakers."""
    speaker, values = np.repeat(np.arange(10), 5), rng.normal(size=50)
    folds = interval(values, clusters=speaker, rounds=speaker, resamples=500)
    alone = interval(values, clusters=speaker, resamples=500)
    assert (folds.estimate, folds.low, folds.high) == pytest.approx((alone.estimate, alone.low, alone.high))


@pytest.mark.parametrize(("speakers", "folds"), [(10, 10), (24, 24), (24, 6)])
def test_coverage_with_folds(rng: np.random.Generator, speakers: int, folds: int) -> None:
    """Ten clusters give 91 %, and 83 % where each fold counts once however often it is drawn."""
    speaker, covered = np.repeat(np.arange(speakers), 20), 0
    for _ in range(200):
        chance = np.clip(0.6 + 0.1 * rng.normal(size=speakers), 0, 1)
        values = (rng.random(len(speaker)) < chance[speaker]).astype(float)
        found = interval(values, clusters=speaker, rounds=speaker % folds, resamples=200)
        covered += found.low <= 0.6 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_statistic_that_is_a_mean_gives_the_mean_interval(rng: np.random.Generator) -> None:
    values, group = clustered(rng)
    seeds = np.stack([values, values + 0.1 * rng.normal(size=len(values))])
    of = lambda one: lambda weights: float(np.average(one, weights=weights))
    a = interval([of(one) for one in seeds], clusters=group, resamples=500)
    b = interval(seeds, clusters=group, resamples=500)
    assert (a.estimate, a.low, a.high) == pytest.approx((b.estimate, b.low, b.high))
    assert (a.clusters, a.clips, a.seeds) == (40, len(values), 2)
    difference = interval([of(one) for one in seeds], minus=seeds, clusters=group, resamples=500, matched=True)
    assert (difference.low, difference.high) == pytest.approx((0, 0))


def test_whole_clusters_are_drawn() -> None:
    group = np.repeat([0, 1], [3, 7])
    seen = []
    interval([lambda weights: seen.append(weights) or 0.0], clusters=group, resamples=50)
    assert all(len(set(weights[:3])) == len(set(weights[3:])) == 1 for weights in seen)
    assert len({(weights[0], weights[3]) for weights in seen}) > 2


@pytest.mark.parametrize(
    ("clusters", "minus", "message"),
    [([0, 0, 0], None, "1 cluster"), ([0, 1], None, "2 labels for 3 clips"), (None, [1.0, 0.0], "3 against 2")],
)
def test_inputs_without_an_interval_are_refused(clusters: list | None, minus: list | None, message: str) -> None:
    with pytest.raises(AaspError, match=message):
        interval([1.0, 0.0, 1.0], clusters=clusters, minus=minus)


@pytest.mark.parametrize("clips", [1, 2, 3, 8, 60])
@pytest.mark.parametrize("right", [0.0, 1.0])
def test_all_right_or_all_wrong_is_the_exact_interval(clips: int, right: float) -> None:
    found = interval(np.full(clips, right))
    bound = 1 - 0.025 ** (1 / clips)
    assert (found.low, found.high) == pytest.approx((1 - bound, 1) if right else (0, bound))
    assert (found.estimate, found.method) == (right, "exact")


def test_the_binomial_interval_is_scipys() -> None:
    for hits, trials in ((0, 5), (1, 8), (7, 8), (39, 40), (12, 30), (5, 5)):
        known = binomtest(hits, trials).proportion_ci(0.95, "exact")
        assert binomial(hits / trials, trials, 0.95) == pytest.approx((known.low, known.high))
    values = np.repeat([1.0, 0.0], [37, 3])
    known = binomtest(37, 40).proportion_ci(0.95, "exact")
    found = interval(values)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.005) and found.method == "exact"
    assert interval(np.repeat([1.0, 0.0], [30, 10])).method == "bootstrap"


def test_a_group_of_clips_that_are_all_right_counts_once() -> None:
    found = interval(np.ones((3, 30)), clusters=np.arange(30) // 10)
    assert (found.low, found.high, found.clusters, found.seeds) == (pytest.approx(0.025 ** (1 / 3)), 1.0, 3, 3)


@pytest.mark.parametrize("clusters", [2, 3, 5, 8, 20])
@pytest.mark.parametrize("mean", [0.8, 0.95, 0.99])
def test_few_groups_are_covered_where_resampling_fails(clusters: int, mean: float, rng: np.random.Generator) -> None:
    """Groups of five clips whose accuracies differ: correlation 0.3 within a group."""
    covered, drawn = 0, 0
    group = np.repeat(np.arange(clusters), 5)
    for _ in range(150):
        chance = rng.beta(mean * 7 / 3, (1 - mean) * 7 / 3, clusters)
        values = (rng.random(clusters * 5) < chance[group]).astype(float)
        found = interval(values, clusters=group, resamples=200)
        covered += found.low <= mean <= found.high
        means = values.reshape(clusters, 5).mean(1)[rng.integers(0, clusters, (200, clusters))].mean(1)
        drawn += np.quantile(means, 0.025) <= mean <= np.quantile(means, 0.975)
    assert covered / 150 >= 0.90
    assert drawn < covered


@pytest.mark.parametrize("clips", [1, 2, 8, 100])
def test_systems_that_are_right_on_the_same_clips_may_differ_on_others(clips: int) -> None:
    values = np.arange(clips) % 2.0
    found = interval(values, minus=values)
    bound = 1 - 0.025 ** (1 / clips)
    assert (found.estimate, found.low, found.high) == (0, pytest.approx(-bound), pytest.approx(bound))
    assert not found.excludes_zero() and found.percent("+").startswith("+0.0 [-")


@pytest.mark.parametrize(("clips", "expected"), [(4, False), (5, None), (6, True), (20, True)])
def test_a_difference_on_few_clips_is_not_significant(clips: int, expected: bool | None) -> None:
    """By a sign test four of four has p = 0.125, six of six 0.03; resampling calls four clear."""
    theirs = np.ones(40)
    theirs[:clips] = 0
    found = interval(np.ones(40), minus=theirs)
    assert expected is None or found.excludes_zero() == expected
    assert found.low < found.estimate < found.high


def test_fewer_than_six_clusters_of_anything_else_have_no_ends(rng: np.random.Generator) -> None:
    for clips in (2, 3, 5):
        total = [lambda weights: float(weights.sum())]
        for found in (interval(rng.normal(size=clips)), interval(total, clusters=np.arange(clips))):
            assert (found.low, found.high, found.method) == (None, None, "none")
            assert found.percent().endswith("[too few to tell]") and not found.excludes_zero()
            assert found.about() == f"too few to tell: {clips} clips"
            assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["low"] is None
    assert interval(rng.normal(size=6)).method == "bootstrap"


def test_a_share_that_is_no_mean_and_never_varies_has_no_ends() -> None:
    perfect = [lambda weights: 1.0]
    assert interval(perfect, clusters=np.arange(30), share=True).method == "none"
    assert interval(perfect, minus=perfect, clusters=np.arange(30), share=True).method == "none"


def test_texts_of_an_interval(rng: np.random.Generator) -> None:
    assert interval(np.ones(8)).percent() == "100.0 [63.1, 100.0]"
    assert interval(np.ones(8)).about() == "95 %, exact, 8 clips"
    assert interval(np.ones(1)).about() == "95 %, exact, 1 clip"
    values, group = clustered(rng)
    assert interval(values, clusters=group).about() == "95 %, bootstrap over 40 groups of clips"
    assert interval(np.stack([values] * 2), resamples=20).about() == "95 %, bootstrap over clips and 2 seeds"
    assert span(None, 1.0, str) == span(0.0, None, str) == "too few to tell" and span(1, 2, str, " to ") == "1 to 2"
