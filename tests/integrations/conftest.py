"""A small model, and sounds that any model separates: the miniature tasks of all three suites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from tones import tone


@pytest.fixture(scope="session")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    return AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(width=24, depth=2, heads=3))).eval()


@pytest.fixture(scope="session")
def folder(encoder: AudioEncoder, saved: Callable[..., Path]) -> Path:
    return saved(encoder, "small")


@pytest.fixture(scope="session")
def two_tones() -> tuple[list[np.ndarray], list[int]]:
    """24 clips of about a second, of a low and a high tone by turns, and which it is."""
    labels = [i % 2 for i in range(24)]
    waves = [tone((400, 3000)[label], 0.8 + 0.02 * i, seed=i) for i, label in enumerate(labels)]
    return waves, labels
