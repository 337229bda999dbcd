"""Set-up of all tests: one thread per process, no deadline in property tests, real audio if available."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch or matplotlib is imported: the tests run in processes side by side, and there is no screen.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Numbers are compared with those of fp32, also where bf16 is faster, and in processes that tests start.
os.environ.setdefault("AASP_CPU_PRECISION", "fp32")

sys.path.insert(0, str(Path(__file__).parent))  # `browser`, `kaldi`, `packed` and `tones`, which tests share

import hypothesis
import pytest

named = importlib.util.find_spec("datasets")
if named is not None and named.origin is None:  # tests/datasets is not the package that transformers looks for
    sys.modules["datasets"] = None  # type: ignore[assignment]

hypothesis.settings.register_profile("aasp", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("aasp")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real audio sets that `AASP_DATA` names; without it the test is skipped, visibly."""
    root = os.environ.get("AASP_DATA")
    if not root:
        pytest.skip("needs real audio: set AASP_DATA to the folder of the sets")
    return Path(root)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a model of ours in a folder of its own, of a name."""

    def save(model: Any, name: str) -> Path:
        place = tmp_path_factory.mktemp("models") / name
        model.save(place)
        return place

    return save


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Embeddings that tests leave to be kept go to a folder of their own, not to the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("AASP_CACHE", str(folder))
        yield folder
