"""Small models of ours, saved, which transformers is to load."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", minversion="5", reason="needs transformers: pip install 'aasp-audio[hf]'")
os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: nothing here may look for a network
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig

CONFIG = AudioEncoderConfig(encoder=EncoderConfig(width=24, depth=2, heads=3), window_seconds=1.28)
CLASSES = ("low", "high", "none")


@pytest.fixture(scope="session", autouse=True)
def no_bars() -> Iterator[None]:
    from transformers.utils import logging

    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


@pytest.fixture(scope="session")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(CONFIG).eval()


@pytest.fixture(scope="session")
def classifier() -> AudioClassifier:
    torch.manual_seed(1)
    model = AudioClassifier(AudioClassifierConfig(CLASSES, clip_seconds=2.0, layers="weighted", encoder=CONFIG))
    torch.nn.init.normal_(model.head.weight)
    torch.nn.init.normal_(model.layer_weights)
    return model.eval()


@pytest.fixture(scope="session")
def encoder_folder(encoder: AudioEncoder, saved: Callable[..., Path]) -> Path:
    return saved(encoder, "encoder")


@pytest.fixture(scope="session")
def classifier_folder(classifier: AudioClassifier, saved: Callable[..., Path]) -> Path:
    return saved(classifier, "classifier")


@pytest.fixture(scope="session")
def wave() -> torch.Tensor:
    """Two clips of 2.1 s, longer than a window."""
    return torch.rand(2, 33_600, generator=torch.Generator().manual_seed(2)) - 0.5


@pytest.fixture(scope="session")
def short(wave: torch.Tensor) -> torch.Tensor:
    """Two clips of a second, within a window."""
    return wave[:, :16_000]
