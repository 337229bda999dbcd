"""A tiny model, a folder of noise that an index is made of, and the commands as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.index import Index
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

Run = Callable[..., str]


Write = Callable[..., None]


@pytest.fixture(scope="session")
def noise() -> Write:
    """Writes noise of a seed to a file."""

    def write(path: Path, seed: int, seconds: float = 0.5) -> None:
        wave = 0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))
        soundfile.write(path, wave, 16_000)

    return write


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("indexed") / "model"
    config = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=24, depth=1, heads=2))
    AudioEncoder(config).save(folder)
    return folder


@pytest.fixture
def sounds(tmp_path: Path, noise: Write) -> Path:
    folder = tmp_path / "sounds"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(["a.wav", "b.flac", "deep/c.ogg", "d.wav"]):
        noise(folder / name, seed, 0.4 + 0.2 * seed)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command that ends with an exit code; returns its output, or its line of error."""

    def call(*argv: str | Path, code: int = 0) -> str:
        assert main([str(word) for word in argv]) == code, capsys.readouterr().err
        captured = capsys.readouterr()
        return captured.err if code == 2 else captured.out

    return call


@pytest.fixture
def index(model: Path, sounds: Path, tmp_path: Path, run: Run) -> Index:
    run("index", model, sounds, "--out", tmp_path / "index")
    return Index.open(tmp_path / "index")
