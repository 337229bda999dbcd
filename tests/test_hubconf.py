"""`torch.hub.load` on this repository."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from aasp.errors import AaspError
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig

ROOT = str(Path(__file__).parents[1])


def test_hub_entry_points() -> None:
    spec = importlib.util.spec_from_file_location("hubconf", f"{ROOT}/hubconf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    assert public == ["encoder", "classifier", "aape"]  # what torch.hub takes for entry points
    assert all(torch.hub._check_dependencies(module) is None for _ in public)


def test_each_is_loaded(tmp_path: Path) -> None:
    config = AudioEncoderConfig(encoder=EncoderConfig(width=8, depth=1, heads=2))
    own = AudioClassifier(AudioClassifierConfig(("a", "b"), encoder=config)).eval()
    own.encoder.save(tmp_path / "encoder")
    own.save(tmp_path / "classifier")
    wave = torch.rand(1, 8_000) - 0.5
    load = lambda name, *arguments: torch.hub.load(ROOT, name, *arguments, source="local")
    with torch.no_grad():
        encoder = load("encoder", str(tmp_path / "encoder"))
        assert isinstance(encoder, AudioEncoder) and torch.equal(encoder(wave).clip, own.encoder(wave).clip)
        assert torch.equal(load("classifier", str(tmp_path / "classifier"))(wave), own(wave))
        assert load("aape", 8)(torch.zeros(1, 32, 128)).shape == (1, 16, 8)
    with pytest.raises(AaspError, match="no such directory"):
        load("encoder", str(tmp_path / "nowhere"))
