"""The effective rank: exponential of the entropy of the covariance's eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.errors import AaspError
from aasp.evaluate.spectrum import effective_rank


@pytest.mark.parametrize("shape", [(200, 30), (20, 50)])
def test_effective_rank_equals_that_of_the_eigenvalues(shape: tuple[int, int], rng: np.random.Generator) -> None:
    X = (rng.normal(size=shape) * np.geomspace(1, 0.01, shape[1]) + 7).astype(np.float32)
    values = np.linalg.eigvalsh(np.cov(X.astype(np.float64).T))
    shares = values[values > 1e-12] / values.sum()
    assert effective_rank(X) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-5)


def test_known_ranks(rng: np.random.Generator) -> None:
    line = rng.normal(size=(50, 1)) * rng.normal(size=8)
    cube = np.vstack([np.eye(8), -np.eye(8)])
    assert effective_rank(line + 3) == pytest.approx(1, abs=1e-6)
    assert effective_rank(cube) == pytest.approx(8) and effective_rank(5 * cube + 1) == pytest.approx(8)
    assert effective_rank(np.ones((5, 8))) == 0


def test_inputs_without_an_effective_rank_are_refused() -> None:
    for X in (np.ones((1, 4)), np.full((3, 4), np.nan)):
        with pytest.raises(AaspError, match="effective rank"):
            effective_rank(X)
