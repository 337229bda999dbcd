"""Synthetic embeddings whose classes a linear head can tell apart, but not perfectly; and the helpers beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (120, 40) and class indices (120,) of four overlapping classes."""
    y = np.arange(120) % 4
    X = 0.7 * rng.normal(size=(4, 40))[y] + rng.normal(size=(120, 40)) * rng.uniform(0.1, 3, 40) + 5
    return X.astype(np.float32), y
