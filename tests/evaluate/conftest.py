"""Synthetic embeddings whose classes a linear head barely separates, files of noise, and helpers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

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


@pytest.fixture(scope="module")
def paths(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of noise, of the lengths in the test file's `SECONDS`."""
    folder, rng, lengths = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0), request.module.SECONDS
    for i, seconds in enumerate(lengths):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(round(16_000 * seconds)), 16_000)
    return [str(folder / f"{i}.wav") for i in range(len(lengths))]
