"""A small encoder and classifiers, sounds of several formats, and a server in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

from aasp.cli.main import main
from aasp.evaluate.features import Running
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.conv import ConvConfig

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

LENGTHS = {"a.wav": 1.3, "b.flac": 3.2, "c.ogg": 12.0, "d.mp3": 2.0, "e.wav": 0.05}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of an encoder, classifiers of clips, of second channels and of events, and a run of two folds."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    encoder = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=24, depth=2, heads=2))
    AudioEncoder(encoder).save(folder / "encoder")
    own = {"clips": {}, "second": {"channels": "2"}, "events": {"over_time": True, "multilabel": True}}
    for place, settings in own.items():
        config = AudioClassifierConfig(("cat", "dog", "Vögel"), clip_seconds=2.0, encoder=encoder, **settings)
        made = AudioClassifier(config)
        made.head.weight.data.normal_()
        made.save(folder / place)
    for fold in (0, 1):
        AudioClassifier(AudioClassifierConfig(("cat", "dog"), encoder=encoder)).save(folder / f"run/fold-{fold}/model")
    return folder


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for name, seconds in LENGTHS.items():
        soundfile.write(folder / name, 0.1 * rng.standard_normal((round(32_000 * seconds), 2)), 32_000)
    return folder


@pytest.fixture(scope="session")
def index(models: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the sounds by the encoder, with vectors that are not its own."""
    folder = tmp_path_factory.mktemp("index") / "index"
    options = ["--layer", "1", "--pooling", "mean"]
    assert main(["index", str(models / "encoder"), str(sounds), "--out", str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="session")
def asking(models: Path) -> Iterator[Callable[..., TestClient]]:
    """A client of a server in this process, one per model and limits for all tests."""
    pytest.importorskip("fastapi")
    pytest.importorskip("prometheus_client")
    from fastapi.testclient import TestClient

    from aasp.serve.answers import answers_of
    from aasp.serve.app import Server
    from aasp.serve.limits import Limits

    clients: dict[tuple[object, ...], TestClient] = {}

    def start(model: str = "encoder", **limits: float) -> TestClient:
        key = (model, *limits.items())
        if key not in clients:
            answers = answers_of(str(models / model), torch.device("cpu"), Running(workers=0))
            server = Server(model, answers, Limits(**limits))  # type: ignore[arg-type]
            clients[key] = TestClient(server.gate, base_url="http://localhost")
            clients[key].__enter__()
        return clients[key]

    yield start
    for client in clients.values():
        client.__exit__(None, None, None)
