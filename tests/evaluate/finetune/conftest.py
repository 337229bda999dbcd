"""A tiny encoder and short tones of three pitches: a fine-tuning takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.finetune.augment import AugmentConfig
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig
from aasp.training.optim import OptimizerConfig

RATE = 16_000
CLASSES = ("low", "middle", "high")
Tones = Callable[..., LabelledSet]


@pytest.fixture(scope="session")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=2, heads=2)
    return AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64)).eval()


@pytest.fixture(scope="session")
def recipe() -> FinetuneRecipe:
    """Every kind of randomness that a run can have."""
    return FinetuneRecipe(
        name="test",
        summary="for tests",
        crop_seconds=0.25,
        batch=4,
        steps=6,
        optimizer=OptimizerConfig(lr=1e-3),
        norm="batch",
        label_smoothing=0.1,
        augment=AugmentConfig(gain_db=3.0, roll_seconds=0.05, noise_snr_db=20.0, mixup=0.5, mask=0.2, patchout=0.3),
        sampling="balanced",
        validations=3,
    )


def write_tones(folder: Path, clips: int, seed: int = 0) -> list[str]:
    """`clips` tones of 0.2 to 0.3 s, their pitches in turn."""
    rng = np.random.default_rng(seed)
    paths = []
    for clip in range(clips):
        time = np.arange(round(RATE * rng.uniform(0.2, 0.3))) / RATE
        tone = 0.3 * np.sin(2 * np.pi * (200, 800, 3200)[clip % 3] * rng.uniform(0.9, 1.1) * time)
        paths.append(str(folder / f"{clip:02}.wav"))
        soundfile.write(paths[-1], tone + 0.01 * rng.standard_normal(len(time)), RATE)
    return paths


@pytest.fixture
def tones(tmp_path: Path) -> Tones:
    """Makes a set of 21 tones: nine train, six valid, six test; or of three folds."""

    def make(*, folds: bool = False, **changes: Any) -> LabelledSet:
        folder = tmp_path / "tones"
        folder.mkdir(exist_ok=True)
        paths = write_tones(folder, 21)
        settings: dict[str, Any] = {
            "name": "tones",
            "source": "tones/",
            "sounds": paths,
            "labels": [(CLASSES[clip % 3],) for clip in range(21)],
            "parts": [*"0" * 7, *"1" * 7, *"2" * 7] if folds else [*["train"] * 9, *["valid"] * 6, *["test"] * 6],
            "classes": CLASSES,
        }
        return LabelledSet(**(settings | changes))

    return make
