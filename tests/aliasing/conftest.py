"""Small models and sounds that the laboratory's tests examine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig

RATE = 16_000


def _save(folder: Path, stem: AaPEConfig | ConvConfig) -> Path:
    torch.manual_seed(0)
    AudioEncoder(AudioEncoderConfig(stem=stem, encoder=EncoderConfig(16, 1, 2))).save(folder)
    return folder


@pytest.fixture(scope="session")
def aape_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained encoder with an AaPE stem."""
    return _save(tmp_path_factory.mktemp("models") / "small", AaPEConfig(states=4, encoder_width=16))


@pytest.fixture(scope="session")
def conv_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained encoder with a convolutional stem."""
    return _save(tmp_path_factory.mktemp("models") / "plain", ConvConfig())


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Noise with amplitude modulation at 5, 10 and 20 Hz, of different lengths."""
    folder, rng, files = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0), []
    for hertz in (5, 10, 20):
        t = np.arange(round((0.6 + hertz / 50) * RATE)) / RATE
        wave = 0.1 * (1 + np.sin(2 * np.pi * hertz * t)) * rng.standard_normal(t.size)
        files.append(str(folder / f"{hertz}-hertz.wav"))
        soundfile.write(files[-1], wave.astype(np.float32), RATE)
    return files
