"""The probe sees nothing of the test part, chooses on validation, and scores what its heads predict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from columns import task_of
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from aasp.errors import AaspError
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.metrics import mean_average_precision
from aasp.evaluate.probe import scores

SPLIT = ["train"] * 60 + ["valid"] * 24 + ["test"] * 36
FOLDS = [i // 24 for i in range(120)]


@pytest.fixture
def candidates(blobs: tuple, rng: np.random.Generator) -> dict[tuple[int, str], np.ndarray]:
    """The embeddings, a blurred copy in other dimensions, and noise."""
    X, _ = blobs
    blurred = X @ rng.normal(size=(40, 200)) + 20 * rng.normal(size=(120, 200))
    noise = {(0, name): rng.normal(size=(120, 8)).astype(np.float32) for name in "abcdefghij"}
    return {(1, "blurred"): blurred.astype(np.float32), **noise, (2, "clear"): X}


def labels(y: np.ndarray) -> list[str]:
    return [f"class {k}" for k in y]


@pytest.mark.slow
@pytest.mark.parametrize("split", [SPLIT, FOLDS], ids=["split", "fold"])
def test_the_best_candidate_is_found_and_its_head_is_the_reported_one(
    split: list, blobs: tuple, candidates: dict
) -> None:
    X, y = blobs
    task = task_of(labels(y), split)
    result = linear_probe(candidates, task)
    for number, (r, chosen) in enumerate(zip(task.rounds, result.chosen, strict=True)):
        assert chosen.key == (2, "clear")
        scaler = StandardScaler().fit(X[r.refit].astype(np.float64))
        # In float64, and by Newton's steps: in float32 scikit-learn itself stops 0.002 from the optimum.
        train, test = (scaler.transform(X[part].astype(np.float64)) for part in (r.refit, r.test))
        oracle = LogisticRegression(C=chosen.setting["C"], tol=1e-10, solver="newton-cholesky").fit(train, y[r.refit])
        expected = oracle.predict_proba(test)
        np.testing.assert_allclose(result.probabilities[result.rounds == number], expected, atol=2e-5)
        assert result.round_scores()[number] == pytest.approx((expected.argmax(1) == y[r.test]).mean())
    assert result.test.tolist() == task.test.tolist()
    np.testing.assert_array_equal(result.truth, y[task.test])
    assert scores([result])["accuracy"].estimate == pytest.approx(result.correct.mean())
    assert result.correct.mean() > 0.6


def test_the_penalty_is_the_best_on_validation(blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs[0] + rng.normal(size=(120, 40)), np.where(rng.random(120) < 0.3, 0, blobs[1])
    task = task_of(labels(y), FOLDS)
    strengths = (1e-2, 1.0, 100.0)
    result = linear_probe({"x": X}, task, strengths=strengths)
    differing = 0
    for r, chosen in zip(task.rounds, result.chosen, strict=True):
        scaler = StandardScaler().fit(X[r.train])
        found = {}
        for C in (strength / 40 for strength in strengths):
            oracle = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(scaler.transform(X[r.train]), y[r.train])
            found[C] = oracle.score(scaler.transform(X[r.valid]), y[r.valid])
        assert found[chosen.setting["C"]] == chosen.valid_scores["x"] == max(found.values())
        differing += min(found.values()) < max(found.values())
    assert differing > 2


@pytest.mark.slow
@pytest.mark.parametrize("split", [SPLIT, FOLDS], ids=["split", "fold"])
def test_a_corrupted_test_part_changes_no_choice_and_no_head(
    split: list, blobs: tuple, candidates: dict, rng: np.random.Generator
) -> None:
    """Each round's head must be the same whatever its test clips and their labels are."""
    _, y = blobs
    task = task_of(labels(y), split)
    clean = linear_probe(candidates, task)
    for number, r in enumerate(task.rounds):
        corrupt = {key: X.copy() for key, X in candidates.items()}
        for X in corrupt.values():
            X[r.test] = 1e4 * rng.normal(size=X[r.test].shape)
        shuffled = y.copy()
        shuffled[r.test] = rng.permutation(y[r.test])
        other = linear_probe(corrupt, replace(task, y=shuffled, rounds=[r]))
        one, two = clean.chosen[number], other.chosen[0]
        assert (one.key, one.setting, one.valid_scores) == (two.key, two.setting, two.valid_scores)
        for field in ("mean", "scale", "weight", "bias"):
            np.testing.assert_array_equal(getattr(one.head, field), getattr(two.head, field))
        assert not np.array_equal(clean.probabilities[clean.rounds == number], other.probabilities)


def test_a_candidate_good_only_on_test_is_not_chosen(blobs: tuple, candidates: dict) -> None:
    _, y = blobs
    task = task_of(labels(y), SPLIT)
    cheat = np.zeros((120, 4), np.float32)
    cheat[task.test] = np.eye(4)[y[task.test]]
    result = linear_probe({**candidates, (3, "cheat"): cheat}, task)
    assert result.chosen[0].key == (2, "clear")


def test_multilabel_is_scored_by_mean_average_precision(blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs
    hot = (y[:, None] == np.arange(4)) | (rng.random((120, 4)) < 0.15)
    task = task_of([";".join("abcd"[k] for k in np.flatnonzero(row)) for row in hot], FOLDS)
    result = linear_probe({"x": X}, task)
    per_fold = [mean_average_precision(hot[r.test], result.probabilities[r.test]) for r in task.rounds]
    ((name, found),) = scores([result]).items()
    assert name == "mAP" and found.estimate == pytest.approx(np.mean(per_fold))
    assert found.low < found.estimate < found.high
    assert result.alone is found, "drawn once: a large set's mAP takes minutes"
    assert np.mean(per_fold) > hot.mean() + 0.2, "chance is the share of positives"


def test_intervals_resample_groups(blobs: tuple) -> None:
    X, y = blobs
    groups = [i // 6 for i in range(120)]
    result = linear_probe({"x": X}, task_of(labels(y), SPLIT, groups))
    assert scores([result])["accuracy"].clusters == 6
    single = linear_probe({"x": X}, task_of(labels(y), SPLIT, [*range(84), *[84] * 36]))
    assert scores([single])["accuracy"].clusters == 36, "one group only: clips are drawn"


def test_progress_counts_every_candidate_of_every_round(blobs: tuple, candidates: dict) -> None:
    _, y = blobs
    for some in (candidates, dict(list(candidates.items())[:2])):
        seen: list[tuple[int, int]] = []
        note = lambda *now, seen=seen: seen.append(now)
        linear_probe(some, task_of(labels(y), FOLDS), strengths=(1.0,), progress=note)
        assert seen == [(k + 1, 5 * len(some)) for k in range(5 * len(some))]


def test_features_that_do_not_fit_the_task(blobs: tuple) -> None:
    X, y = blobs
    task = task_of(labels(y), SPLIT)
    with pytest.raises(AaspError, match="119 rows for 120 clips"):
        linear_probe({"x": X[1:]}, task)
    X[3, 3] = np.nan
    with pytest.raises(AaspError, match="not all finite"):
        linear_probe({"x": X}, task)
