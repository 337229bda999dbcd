"""Few labels and neighbours by hand: ridge regression, most similar sounds of other groups."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.evaluate.similarity import LABELS, PENALTY, few_labels, neighbours, plane


@pytest.fixture
def notes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, classes and groups of 3 classes x 8 groups x 5 clips; a class lies in a direction of its own."""
    rng = np.random.default_rng(0)
    classes = np.repeat(["bass", "reed", "string"], 40)
    groups = np.repeat([f"{name}{k}" for name in ("bass", "reed", "string") for k in range(8)], 5)
    vectors = 3 * np.eye(3)[np.repeat([0, 1, 2], 40)] + rng.normal(size=(120, 3)) * [1.0, 1.0, 1.0]
    return np.concatenate([vectors, 100 + np.zeros((120, 1))], axis=1), classes, groups


def test_few_labels_are_a_ridge_regression(notes) -> None:
    vectors, classes, groups = notes
    rng = np.random.default_rng(1)
    order = rng.permutation(120)
    known, test = np.sort(order[:60]), np.sort(order[60:])
    found = few_labels(vectors, classes, groups, known, test)
    assert list(found) == list(LABELS)
    assert found[1].estimate < found[5].estimate <= found[20].estimate + 0.02 and found[20].estimate > 0.85
    assert found[20].clusters == len(set(groups[test])) and found[20].low < found[20].estimate < found[20].high
    # By hand: all that is known (a class gives what it has) leaves nothing to draw.
    some = known[::2]
    X = (vectors - vectors[some].mean(0)) / (vectors[some].std(0) + 1e-6)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    names = sorted(set(classes))
    mean, target = X[some].mean(0), 2.0 * (classes[some][:, None] == names) - 1
    Z = X[some] - mean
    W = np.linalg.solve(Z.T @ Z + PENALTY * np.eye(4), Z.T @ (target - target.mean(0)))
    right = np.array(names)[((X[test] - mean) @ W + target.mean(0)).argmax(1)] == classes[test]
    assert few_labels(vectors, classes, groups, some, test)[20].estimate == pytest.approx(np.mean(right))


def test_neighbours_are_of_other_groups_and_the_nearest_first(notes) -> None:
    vectors, _, groups = notes
    X = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    for row, found in zip((3, 77), neighbours(vectors, groups, (3, 77)), strict=True):
        others = sorted((k for k in range(120) if groups[k] != groups[row]), key=lambda k: -(X[k] @ X[row]))
        assert found == others[:4]


def test_clusters_stay_clusters_on_the_plane() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["bass", "flute", "reed"], 20)
    centres = {name: 10 * rng.normal(size=12) for name in ("bass", "flute", "reed")}
    points = plane(np.stack([centres[name] + rng.normal(size=12) for name in labels]))
    assert points.shape == (60, 2)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(60)
    assert (labels[distance.argmin(1)] == labels).all()
    assert (plane(np.eye(12)) == plane(np.eye(12))).all()


def test_one_error_in_many_draws_is_a_share_near_its_bound() -> None:
    """Vectors in two directions, one test clip in the other's: the interval is that of few errors, not of resamples."""
    classes, groups = np.repeat(["bass", "reed"], 40), np.arange(80).astype(str)
    vectors = np.eye(2)[np.repeat([0, 1], 40)] + 0.01 * np.random.default_rng(0).normal(size=(80, 2))
    known, test = np.arange(0, 80, 2), np.arange(1, 80, 2)
    vectors[1] = vectors[79]
    found = few_labels(vectors, classes, groups, known, test)[20]
    assert found.method == "exact" and found.estimate == pytest.approx(39 / 40) and found.low < 0.9
