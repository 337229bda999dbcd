"""Lets the tests here share `children`, `commands` and `validator`; small sounds, an index and a model."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: `sounds`, a second or two of noise of two colours; `index.csv`, their labels and parts; `model`."""
    import torch

    from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
    from aasp.model.encoder import EncoderConfig

    folder = tmp_path_factory.mktemp("given")
    folder.chmod(0o755)
    random = np.random.default_rng(0)
    rows = []
    for i in range(16):
        noise = random.standard_normal(16_000 * (1 + i % 3) // 2)
        wave = np.cumsum(noise) if i % 2 else noise
        place = folder / "sounds" / ("brown" if i % 2 else "white") / f"{i}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, 0.5 * wave / np.abs(wave).max(), 16_000)
        part = "train" if i < 8 else "valid" if i < 12 else "test"
        rows.append((place.relative_to(folder), place.parent.name, part))
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    torch.manual_seed(0)
    AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(width=24, depth=1, heads=2))).save(folder / "model")
    return folder
