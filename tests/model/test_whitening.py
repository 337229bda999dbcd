"""The whitening of a clip's vector: the leading directions get the variance of the next, the others are unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.errors import AaspError
from aasp.model.whitening import Whitening

WIDTH, DIRECTIONS = 12, 4


@pytest.fixture
def vectors() -> np.ndarray:
    """Vectors whose dimensions differ in scale and are correlated."""
    random = np.random.default_rng(0)
    mixed = random.normal(size=(300, WIDTH)) @ random.normal(size=(WIDTH, WIDTH))
    return mixed * np.geomspace(0.01, 50, WIDTH) + np.linspace(-20, 20, WIDTH)


def fitted(vectors: np.ndarray, directions: int = DIRECTIONS) -> Whitening:
    whitening = Whitening(vectors.shape[1], directions).double()
    whitening.fit(torch.from_numpy(vectors))
    return whitening


def test_it_equals_the_definition(vectors: np.ndarray) -> None:
    z = (vectors - vectors.mean(0)) / vectors.std(0, ddof=1)
    _, singular, axes = np.linalg.svd(z, full_matrices=False)
    coordinates = z @ axes.T
    coordinates[:, :DIRECTIONS] *= singular[DIRECTIONS] / singular[:DIRECTIONS]
    found = fitted(vectors)(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(found, coordinates @ axes, atol=1e-9)


def test_leading_directions_have_the_variance_of_the_next(vectors: np.ndarray) -> None:
    found = fitted(vectors)(torch.from_numpy(vectors)).numpy()
    variance = np.linalg.eigvalsh(np.cov(found.T))[::-1]
    np.testing.assert_allclose(variance[:DIRECTIONS], variance[DIRECTIONS], rtol=1e-9)
    standardised = np.linalg.eigvalsh(np.corrcoef(vectors.T))[::-1]
    np.testing.assert_allclose(variance[DIRECTIONS:], standardised[DIRECTIONS:], rtol=1e-9)


def test_nothing_changes_before_it_is_learned(vectors: np.ndarray) -> None:
    given = torch.from_numpy(vectors).float()
    assert torch.equal(Whitening(WIDTH, DIRECTIONS)(given), given)


def test_a_dimension_that_never_changes_stays_finite(vectors: np.ndarray) -> None:
    vectors[:, 3] = 0.1
    whitening = fitted(vectors)
    found = whitening(torch.from_numpy(vectors)).numpy()
    assert np.isfinite(found).all() and np.abs(found[:, 3]).max() < 1e-9
    assert whitening.gain == pytest.approx(1 / vectors.std(0, ddof=1)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:5], "5 example clips for 4 directions; give at least 6, or fewer directions"),
        (lambda x: np.where(x == x[3, 3], np.nan, x), "not all finite; leave those clips out"),
        (lambda x: x[:, :3] @ np.ones((3, WIDTH)), "differ in fewer than 5 directions; give more varied sound"),
    ],
)
def test_vectors_that_cannot_be_learned_from_are_refused(vectors: np.ndarray, change, message: str) -> None:
    with pytest.raises(AaspError, match=message):
        fitted(change(vectors))


def test_more_directions_than_numbers_are_refused() -> None:
    with pytest.raises(AaspError, match="whitened is 12; the vector has 12 numbers, so give at most 11"):
        Whitening(WIDTH, WIDTH)
