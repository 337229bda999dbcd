"""Ridge regression: scikit-learn's numbers, a choice on validation, and nothing of the test part in either."""

from __future__ import annotations

import numpy as np
import pytest
from columns import task_of
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from aasp.errors import AaspError
from aasp.evaluate import ridge
from aasp.evaluate.linear import linear_probe
from aasp.evaluate.ridge import RIDGES, ridge_probe, ridge_ranking

SPLIT = ["train"] * 60 + ["valid"] * 24 + ["test"] * 36
FOLDS = [i // 24 for i in range(120)]


@pytest.fixture
def candidates(blobs: tuple, rng: np.random.Generator) -> dict[tuple[int, str], np.ndarray]:
    """Noise, the embeddings, and more dimensions than clips."""
    X, _ = blobs
    wide = np.hstack([X, rng.normal(size=(120, 160)).astype(np.float32)])
    return {(0, "noise"): rng.normal(size=(120, 8)).astype(np.float32), (1, "clear"): X, (1, "wide"): wide}


def oracle(X: np.ndarray, y: np.ndarray, train: np.ndarray, queries: np.ndarray, ratio: float) -> np.ndarray:
    scaler = StandardScaler().fit(X[train].astype(np.float64))
    ready = lambda rows: scaler.transform(X[rows].astype(np.float64))
    target = y[train] if y.ndim == 2 else np.eye(y.max() + 1)[y[train]]
    return Ridge(alpha=ratio * len(train) * X.shape[1]).fit(ready(train), target.astype(float)).predict(ready(queries))


@pytest.mark.parametrize("split", [SPLIT, FOLDS], ids=["split", "fold"])
def test_choice_and_head_are_those_of_plain_loops(split: list, blobs: tuple, candidates: dict) -> None:
    y = blobs[1]
    task = task_of([f"class {k}" for k in y], split)
    result = ridge_probe(candidates, task)
    for number, (r, chosen) in enumerate(zip(task.rounds, result.chosen, strict=True)):
        found = {}
        for key, X in candidates.items():
            for ratio in RIDGES:
                predicted = oracle(X, y, r.train, r.valid, ratio)
                found[key, ratio] = (
                    (predicted.argmax(1) == y[r.valid]).mean(),
                    -((predicted - np.eye(4)[y[r.valid]]) ** 2).mean(),
                )
        best = max(found, key=found.__getitem__)
        assert (chosen.key, chosen.setting["ridge"]) == best
        expected = oracle(candidates[best[0]], y, r.refit, r.test, best[1])
        np.testing.assert_allclose(result.probabilities[result.rounds == number], expected, atol=1e-8)
        np.testing.assert_allclose(expected.sum(1), 1)
    assert result.score > 0.6


def test_several_labels_are_ranked_by_their_estimates(blobs: tuple) -> None:
    X, y = blobs
    task = task_of([f"{k}; odd" if k % 2 else f"{k}" for k in y], SPLIT)
    result = ridge_probe({"x": X}, task)
    (r,), (chosen,) = task.rounds, result.chosen
    expected = oracle(X, task.y, r.refit, r.test, chosen.setting["ridge"])
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-8)
    assert result.metric == "mAP" and result.score > 0.6


def test_a_class_only_in_the_test_part_is_never_predicted(blobs: tuple) -> None:
    X, y = blobs
    split = ["test" if k == 3 or i > 100 else "train" for i, k in enumerate(y)]
    result = ridge_probe({"x": X}, task_of([str(k) for k in y], split))
    assert (result.probabilities[:, 3] == 0).all() and not result.correct[result.truth == 3].any()


def test_a_ranking_is_computed_once(blobs: tuple, candidates: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both probes choose by it as they would by themselves, also among some of its candidates."""
    task = task_of([f"class {k}" for k in blobs[1]], FOLDS)
    ranking = ridge_ranking(candidates, task)
    some = {key: candidates[key] for key in [(0, "noise"), (1, "wide")]}
    alone = ridge_probe(candidates, task), ridge_probe(some, task), linear_probe(candidates, task, shortlist=1)
    monkeypatch.setattr(ridge, "best_ridge", None)
    monkeypatch.setattr("aasp.evaluate.linear.best_ridge", None)
    given = (
        ridge_probe(candidates, task, ranking=ranking),
        ridge_probe(some, task, ranking=ranking),
        linear_probe(candidates, task, shortlist=1, ranking=ranking),
    )
    for one, two in zip(alone, given, strict=True):
        assert [(c.key, c.setting) for c in one.chosen] == [(c.key, c.setting) for c in two.chosen]
        np.testing.assert_array_equal(one.probabilities, two.probabilities)


def test_a_quicker_head_decides_as_the_optimum_does(blobs: tuple) -> None:
    task = task_of([f"class {k}" for k in blobs[1]], FOLDS)
    exact, quick = linear_probe({"x": blobs[0]}, task), linear_probe({"x": blobs[0]}, task, precise=False)
    assert [one.setting for one in exact.chosen] == [one.setting for one in quick.chosen]
    np.testing.assert_array_equal(quick.predicted, exact.predicted)
    # A gradient of 1e-5 leaves 0.014 of a probability here, on 120 clips that are hardly separable.
    np.testing.assert_allclose(quick.probabilities, exact.probabilities, atol=0.03)
    assert (quick.probabilities != exact.probabilities).any()


def test_bad_features_are_refused(blobs: tuple) -> None:
    X, y = blobs
    task = task_of([str(k) for k in y], SPLIT)
    with pytest.raises(AaspError, match="119 rows for 120 clips"):
        ridge_ranking({"x": X[1:]}, task)
    with pytest.raises(AaspError, match="not all finite"):
        ridge_probe({"x": np.full_like(X, np.nan)}, task)
