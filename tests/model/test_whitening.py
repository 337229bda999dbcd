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
    assert whitening.scale[3] == 1 and whitening.gains.max() < 2 / vectors.std(0, ddof=1).min()


def test_rounding_noise_is_not_amplified(vectors: np.ndarray) -> None:
    vectors[:, 3] = 1e-9 * np.random.default_rng(1).normal(size=len(vectors))
    assert fitted(vectors).scale[3] == 1


def test_the_gains_are_those_of_independent_errors(vectors: np.ndarray) -> None:
    whitening = fitted(vectors)
    errors = torch.randn(20_000, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = whitening(errors) - whitening(torch.zeros(1, WIDTH).double())
    np.testing.assert_allclose(found.std(0), whitening.gains, rtol=0.03)


def test_more_numbers_than_clips_give_the_same_directions(vectors: np.ndarray) -> None:
    """The matrix of clips has the eigenvalues of the matrix of numbers."""
    wide = np.concatenate([vectors, vectors**2, np.abs(vectors)], axis=1)[:30]
    z = (wide - wide.mean(0)) / wide.std(0, ddof=1)
    _, singular, axes = np.linalg.svd(z, full_matrices=False)
    coordinates = z @ axes.T
    coordinates[:, :DIRECTIONS] *= singular[DIRECTIONS] / singular[:DIRECTIONS]
    found = fitted(wide)(torch.from_numpy(wide)).numpy()
    np.testing.assert_allclose(found, coordinates @ axes, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_rounded_buffers_compute_in_fp32(vectors: np.ndarray, dtype: torch.dtype) -> None:
    whitening, given = fitted(vectors).float(), torch.from_numpy(vectors).float()
    alone = whitening(given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(whitening(given), alone)
    for name, buffer in list(whitening.named_buffers()):
        setattr(whitening, name, buffer.to(dtype))  # as transformers does
    assert whitening(given.to(dtype)).dtype == torch.float32


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
