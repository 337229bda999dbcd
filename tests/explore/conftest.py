"""A small index of made-up vectors and real files, with names that would inject code into an unescaped page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from aasp.index import Index
from aasp.index.layout import COLUMNS, Model, Settings, State, add, write_state
from hostile import NAME

HOSTILE = NAME.replace("/", "_") + ".wav"
CLASSES = ("dog bark", "rain", NAME)


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Index]:
    """Makes an index of so many rows in three classes that a linear classifier separates."""

    def make(count: int = 60, files: int = 60, width: int = 8, spread: float = 0.3) -> Index:
        folder = tmp_path_factory.mktemp("explored")
        sounds, rng = folder / "sounds & more", np.random.default_rng(0)
        sounds.mkdir()
        truth = np.arange(count) % 3
        x = np.eye(3, width)[truth] + spread * rng.standard_normal((count, width))
        names = [f"clip {i:06d}.wav" for i in range(count)]
        if files:
            names[1] = HOSTILE
        for i, name in enumerate(names[:files]):
            tone = np.sin(2 * np.pi * (300 + 200 * truth[i]) * np.arange(8_000) / 16_000)
            soundfile.write(sounds / name, 0.3 * tone, 16_000)
        values = {
            "path": names, "start": [0.0] * count, "seconds": [0.5] * count,
            "hash": [f"{i:064x}" for i in range(count)],
            "modified": [1_700_000_000_000_000_000 + i for i in range(count)], "size": [1] * count,
            "source": [str(sounds)] * count,
        }  # fmt: skip
        rows = pa.table({name: pa.array(values[name], kind) for name, kind in COLUMNS.items()})
        rows = rows.append_column("label", pa.array([CLASSES[k] for k in truth]))
        rows = rows.append_column("score", pa.array(np.linspace(0, 1, count)))
        place = folder / "index"
        place.mkdir()
        state = State(Model("runs/tiny", "0" * 64), Settings(), str(sounds))
        write_state(place, state)
        add(place, state, x / np.linalg.norm(x, axis=1, keepdims=True), rows)
        return Index.open(place)

    return make


@pytest.fixture(scope="session")
def small(indexed: Callable[..., Index]) -> Index:
    return indexed()
