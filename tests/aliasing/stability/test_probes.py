"""Probes read what is present, are at chance otherwise, and never test a clip of a training group."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.aliasing.stability import probes
from aasp.aliasing.stability.probes import check_labels, decisions, rates_read
from aasp.errors import AaspError

RNG = np.random.default_rng


def test_decisions_change_where_the_embedding_crosses() -> None:
    labels = np.array(["a", "b"] * 20)
    side = np.where(labels == "a", 1.0, -1.0)
    clean = np.stack([5 * side, RNG(0).standard_normal(40)], axis=1)
    crossed = clean * [[-1, 1]]
    half = np.where(np.arange(40)[:, None] < 20, crossed, clean)
    right, changed = decisions(clean, {"same": clean, "crossed": crossed, "half": half}, labels, np.arange(40), 0)
    assert right.all()
    assert not changed["same"].any()
    assert changed["crossed"].all()
    np.testing.assert_array_equal(changed["half"], np.arange(40) < 20)


def test_a_clip_is_named_by_a_head_that_knows_nothing_of_its_group() -> None:
    """Labels that follow from the group alone: with a group's other clip in training, accuracy would be perfect."""
    groups = np.repeat(np.arange(20), 2)
    labels = RNG(1).permutation(np.repeat(["a", "b"], 10))[groups]
    clean = 10 * np.eye(20)[groups]
    right, _ = decisions(clean, {}, labels, groups, 0)
    assert right.mean() < 0.7
    assert decisions(clean, {}, labels, np.arange(40), 0)[0].mean() > 0.9


@pytest.mark.parametrize(
    ("labels", "groups"), [(["a"] * 8, range(8)), (["a"] * 7 + ["b"], range(8)), (["a", "b"] * 4, [0] * 8)]
)
def test_labels_that_can_not_be_probed(labels: list[str], groups: list[int]) -> None:
    with pytest.raises(AaspError, match="there must be two classes of two clips, and two groups"):
        check_labels(np.array(labels), np.array(groups))


def test_a_rate_that_is_present_is_read_and_others_are_at_chance() -> None:
    rng = RNG(0)
    nothing = rng.standard_normal((8, 60, 10)) * 0.1 + rng.standard_normal((60, 10))
    informative = nothing + 8 * np.eye(10)[:8, None]
    truth = np.arange(8)[:, None]
    assert (rates_read(informative, np.arange(60), 0) == truth).mean() > 0.9
    assert (rates_read(nothing, np.arange(60), 0) == truth).mean() == pytest.approx(1 / 8, abs=0.05)


def test_halves_keep_groups_whole_and_read_each_clip_once() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2, 3, 4])
    (train, test), (back, forth) = probes._halves(groups, 3)
    assert (train == ~test).all() and (back == test).all() and (forth == train).all()
    assert not set(groups[train]) & set(groups[test])
    assert 2 <= len(set(groups[train])) <= 3
