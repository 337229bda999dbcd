"""The mean over sets: each set draws its own clusters, by plain loops; sets of the same clips go together."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.errors import AaspError
from aasp.evaluate.averages import average
from aasp.evaluate.probe import ProbeResult

MANY = 4_000


def result(correct: np.ndarray, groups: np.ndarray | None, rounds: np.ndarray | None = None) -> ProbeResult:
    """A result of two classes whose clips are right or wrong as given."""
    n = len(correct)
    rounds = np.zeros(n, dtype=int) if rounds is None else rounds
    probabilities = np.stack([1 - correct, correct], axis=1).astype(float)
    chosen: list = [None] * (rounds.max() + 1)
    return ProbeResult(np.arange(n), np.ones(n, dtype=int), probabilities, rounds, groups, chosen)


def drawn(right: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> float:
    """The mean over clips of as many clusters as there are, drawn with replacement."""
    names = np.unique(groups)
    rows = np.concatenate([np.flatnonzero(groups == g) for g in rng.choice(names, len(names))])
    return float(right[rows].mean())


def some(rng: np.random.Generator, clusters: int, clips: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    groups = np.repeat(np.arange(clusters), clips)
    return (rng.random(clusters * clips) < (share + 0.3 * rng.normal(size=clusters))[groups]) * 1, groups


@pytest.mark.slow
def test_ends_are_those_of_drawing_clusters_within_each_set(rng: np.random.Generator) -> None:
    sets = [some(rng, 12, 5, 0.7), some(rng, 30, 3, 0.5)]
    found = average([result(*one) for one in sets], resamples=MANY)
    assert found.estimate == pytest.approx(np.mean([right.mean() for right, _ in sets]))
    means = [np.mean([drawn(*one, rng) for one in sets]) for _ in range(MANY)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.012)
    assert (found.clusters, found.clips, found.method) == (42, 150, "bootstrap")


def test_differences_are_paired(rng: np.random.Generator) -> None:
    """If clusters are easy or hard for both systems, the difference is more certain than the scores."""
    sets = [some(rng, 20, 5, 0.6) for _ in range(3)]
    ours = [result(right, groups) for right, groups in sets]
    flipped = [np.where(rng.random(len(right)) < 0.06, 0, right) for right, _ in sets]
    theirs = [result(right, groups) for right, (_, groups) in zip(flipped, sets, strict=True)]
    lead, score = average(ours, theirs), average(ours)
    leads = [a.correct.mean() - b.correct.mean() for a, b in zip(ours, theirs, strict=True)]
    assert lead.estimate == pytest.approx(np.mean(leads))
    assert lead.low is not None and lead.high is not None and score.low is not None and score.high is not None
    assert 0 < lead.low < lead.estimate < lead.high and lead.high - lead.low < 0.5 * (score.high - score.low)


def test_results_on_the_same_clips_share_one_draw(rng: np.random.Generator) -> None:
    """The same set twice does not narrow the interval; another set of the same size does."""
    right, groups = some(rng, 20, 5, 0.6)
    width = lambda found: found.high - found.low
    once, twice = average([result(right, groups)]), average([result(right, groups), result(right, groups)])
    assert width(twice) == pytest.approx(width(once))
    other = average([result(right, groups), result(right, groups)], sources=["one.csv", "other.csv"])
    assert width(other) == pytest.approx(width(once) / np.sqrt(2), rel=0.1)
    apart = average([result(right, groups), result(right, groups + 100)])
    assert width(apart) == pytest.approx(width(once) / np.sqrt(2), rel=0.1)


def test_every_set_counts_equally_and_within_it_every_fold(rng: np.random.Generator) -> None:
    folds = np.repeat([0, 1], [90, 10])
    right = np.repeat([1, 0], [90, 10])
    found = average([result(right, None, folds), result(np.repeat([1, 0], [8, 2]), None)])
    assert found.estimate == pytest.approx((0.5 + 0.8) / 2)


def test_every_statistic_counts_a_fold_as_often_as_its_clips_are_drawn(rng: np.random.Generator) -> None:
    rounds = np.repeat([0, 1, 2], [20, 30, 50])
    weights = np.repeat([3.0, 1.0, 0.0], [20, 30, 50])
    truth, scores = rng.integers(0, 3, 100), rng.random((100, 3))
    numbers, guess = rng.normal(size=100), rng.normal(size=(100, 1))
    for statistic, labels, predicted in (
        ("macro_f1", truth, scores),
        ("average_precision", truth[:, None] == np.arange(3), scores),
        ("r_squared", numbers, guess),
    ):
        one = ProbeResult(np.arange(100), labels, predicted, rounds, None, [None] * 3)  # type: ignore[list-item]
        first, second, third = (getattr(one, statistic)((rounds == k) * 1.0) for k in range(3))
        assert getattr(one, statistic)(weights) == pytest.approx(0.75 * first + 0.25 * second)
        assert getattr(one, statistic)(np.ones(100)) == pytest.approx((first + second + third) / 3)
        assert len({first, second, third}) == 3


def test_too_few_clusters_in_one_set_are_too_few() -> None:
    right = np.tile([1, 1, 0], 20)
    few, many = np.repeat(np.arange(5), 12), np.repeat(np.arange(12), 5)
    assert average([result(right, many)]).low is not None
    found = average([result(right, many), result(right, few)])
    assert (found.low, found.high, found.method) == (None, None, "none")
    assert average([result(right, many)], [result(right, many)]).low is None, "nothing varies"


def test_other_sets_are_refused(rng: np.random.Generator) -> None:
    one = result(np.array([1, 0, 1]), None)
    with pytest.raises(AaspError, match="2 against 1; score both systems on the same sets"):
        average([one, one], [one])
    with pytest.raises(AaspError, match="3 against 2 clips"):
        average([one], [result(np.array([1, 0]), None)])
