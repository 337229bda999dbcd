"""The rotated, preconditioned solver finds scikit-learn's optimum, and the rotation changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from aasp.evaluate.logistic import CONVERGED, DRAFT, LinearHeadSolver

PENALTIES = (1e-4, 1e-2, 1.0)


def wide(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same clips in more dimensions than there are clips."""
    return np.concatenate([X, X @ rng.normal(size=(40, 260)) + rng.normal(size=(len(X), 260))], axis=1)


@pytest.mark.parametrize("shape", ["n > D", "n < D"])
def test_it_agrees_with_scikit_learn(shape: str, blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs
    X = wide(X, rng) if shape == "n < D" else X
    standard = StandardScaler().fit_transform(X.astype(np.float64))
    fitted = LinearHeadSolver(X, y, 4)
    for C, solution in zip(PENALTIES, fitted.path(PENALTIES), strict=True):
        oracle = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(standard, y)
        head = fitted.head(*solution)
        np.testing.assert_allclose(head.probabilities(X), oracle.predict_proba(standard), atol=1e-4)
        np.testing.assert_allclose(head.weight.T, oracle.coef_, atol=1e-4)


@pytest.mark.parametrize("shape", ["n > D", "n < D"])
def test_weak_penalties_converge_too(shape: str, blobs: tuple, rng: np.random.Generator) -> None:
    """Separable classes: the loss is flat far from the origin, and a solver that stops early misses the optimum."""
    X, y = blobs
    X, y = (wide(X, rng), y) if shape == "n < D" else (X[:60], y[:60])
    fitted = LinearHeadSolver(X, y, 4)
    for C, solution in zip((10.0, 75.0), fitted.path((10.0, 75.0)), strict=True):
        oracle = LogisticRegression(C=C, tol=1e-10, solver="newton-cholesky").fit(fitted.Z, y)
        np.testing.assert_allclose(fitted.probabilities(fitted.Z, *solution), oracle.predict_proba(fitted.Z), atol=2e-5)


@pytest.mark.parametrize(("gradient", "atol"), [(CONVERGED, 2e-5), (DRAFT, 1e-6)], ids=["to keep", "draft"])
@pytest.mark.parametrize("shape", ["n > D", "n < D"])
def test_rounding_does_not_change_the_solution(
    shape: str, gradient: float, atol: float, blobs: tuple, rng: np.random.Generator
) -> None:
    """The same dimensions in another order: every product rounds otherwise, as on another processor."""
    X, y = blobs
    X = wide(X, rng) if shape == "n < D" else X
    found = []
    for order in (np.arange(X.shape[1]), *(rng.permutation(X.shape[1]) for _ in range(3))):
        fitted = LinearHeadSolver(X[:84][:, order], y[:84], 4)
        seen = fitted.coordinates(X[84:][:, order])
        found.append([fitted.probabilities(seen, *one) for one in fitted.path((1e-2, 1.0, 75.0), gradient=gradient)])
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=atol)


def test_multilabel_is_one_binary_problem_per_class(blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs
    hot = (y[:, None] == np.arange(4)) | (rng.random((120, 4)) < 0.2)
    standard = StandardScaler().fit_transform(X.astype(np.float64))
    fitted = LinearHeadSolver(X, hot, 4)
    for C, solution in zip(PENALTIES, fitted.path(PENALTIES), strict=True):
        found = fitted.head(*solution).probabilities(X)
        for k in range(4):
            oracle = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(standard, hot[:, k])
            np.testing.assert_allclose(found[:, k], oracle.predict_proba(standard)[:, 1], atol=1e-4)


@pytest.mark.parametrize("shape", ["n > D", "n < D"])
def test_rotated_coordinates_give_the_same_probabilities(shape: str, blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs
    X = wide(X, rng) if shape == "n < D" else X
    train, other = X[:80], X[80:]
    fitted = LinearHeadSolver(train, y[:80], 4)
    solution = next(fitted.path([0.01]))
    rotated = fitted.probabilities(fitted.coordinates(other), *solution)
    np.testing.assert_allclose(rotated, fitted.head(*solution).probabilities(other), atol=1e-9)
    np.testing.assert_allclose(rotated.sum(1), 1, atol=1e-9)


def test_a_draft_is_close_to_the_optimum(blobs: tuple) -> None:
    X, y = blobs
    fitted = LinearHeadSolver(X, y, 4)
    for draft, exact in zip(fitted.path(PENALTIES, gradient=DRAFT), fitted.path(PENALTIES), strict=True):
        np.testing.assert_allclose(
            fitted.probabilities(fitted.Z, *draft), fitted.probabilities(fitted.Z, *exact), atol=0.03
        )


@pytest.mark.parametrize("shape", ["n > D", "n < D"])
def test_ridge_agrees_with_scikit_learn(shape: str, blobs: tuple, rng: np.random.Generator) -> None:
    X, y = blobs
    X = wide(X, rng) if shape == "n < D" else X
    scaler = StandardScaler().fit(X[:80].astype(np.float64))
    fitted = LinearHeadSolver(X[:80], y[:80], 4)
    for ratio, scores in zip((1e-4, 0.1), fitted.ridge(fitted.coordinates(X[80:]), (1e-4, 0.1)), strict=True):
        oracle = Ridge(alpha=ratio * 80 * X.shape[1], solver="svd")
        oracle.fit(scaler.transform(X[:80].astype(np.float64)), y[:80, None] == np.arange(4))
        np.testing.assert_allclose(scores, oracle.predict(scaler.transform(X[80:].astype(np.float64))), atol=1e-7)


def test_a_class_without_a_training_clip_is_never_predicted(blobs: tuple) -> None:
    X, y = blobs
    fitted = LinearHeadSolver(X[y != 2], y[y != 2], 4)
    solution = next(fitted.path([0.1]))
    assert (fitted.head(*solution).probabilities(X)[:, 2] == 0).all()
    assert (fitted.probabilities(fitted.coordinates(X), *solution)[:, 2] == 0).all()


def test_a_constant_dimension_does_no_harm(blobs: tuple) -> None:
    X, y = blobs
    padded = np.column_stack([X, np.full(len(X), 3.0, np.float32)])
    one, two = (LinearHeadSolver(x, y, 4) for x in (X, padded))
    np.testing.assert_allclose(
        one.head(*next(one.path([0.1]))).probabilities(X),
        two.head(*next(two.path([0.1]))).probabilities(padded),
        atol=1e-5,
    )
