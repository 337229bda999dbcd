"""A configuration that needs more than a model can be, or than its weights fill, is refused before it is made."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import aasp
from aasp.allocation import Within
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems import STEMS
from aasp.stems.conv import ConvConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model") / "small"
    small = AudioEncoderConfig(stem=ConvConfig(), encoder=EncoderConfig(width=8, depth=1, heads=2))
    AudioEncoder(small).save(place)
    return place


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("encoder.width", 10**9, "encoder: width is 1000000000; give a positive number and at most 16384"),
        ("encoder.depth", 10**9, "encoder: depth is 1000000000; give a positive number and at most 512"),
        ("encoder.heads", 0, "encoder: heads is 0; give a positive number"),
        ("encoder.learned", [10**9, 8], "encoder: learned is 1000000000; give"),
        ("stem.taps", 10**9, "stem: patch 16,16 and taps 1000000000; give at most 4096 of each"),
        ("window_seconds", 1e12, "model: window_seconds is 1000000000000.0; give a positive number and at most 3600"),
        ("window_seconds", -1, "model: window_seconds is -1.0; give a positive number"),
        ("frontend.mels", 10**8, "front end: mels is 100000000; give a positive number and at most 1024"),
        ("frontend.fft", 10**9, "front end: fft is 1000000000; give a positive number and at most 32768"),
        ("frontend.hop_ms", 1e-9, "front end: windows of 400 samples every 0; raise"),
        ("whitened", 10**9, "model: whitened is 1000000000; give"),
        ("encoder.width", "a" * 10**6, "encoder: width: 'aaa"),
    ],
)
def test_an_excessive_dimension_is_refused(model: Path, name: str, value: Any, message: str) -> None:
    file = model / "config.json"
    kept = file.read_text()
    document = json.loads(kept)
    *parents, last = name.split(".")
    node = document
    for parent in parents:
        node = node[parent]
    node[last] = value
    file.write_text(json.dumps(document))
    tracemalloc.start()
    try:
        with pytest.raises(AaspError) as caught:
            aasp.load(model)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
        file.write_text(kept)
    assert str(caught.value).startswith(f"{file}: {message}") and len(str(caught.value)) < 1_000


@pytest.mark.parametrize("changes", [{"width": 16_384, "heads": 1}, {"width": 8_192, "heads": 2}])
def test_sizes_that_the_weights_file_cannot_hold_are_refused(model: Path, changes: dict[str, int]) -> None:
    file = model / "config.json"
    kept = file.read_text()
    document = json.loads(kept)
    document["encoder"] |= changes
    file.write_text(json.dumps(document))
    try:
        with pytest.raises(AaspError, match=r"config\.json beside it needs more than the [\d,]+ numbers that are"):
            aasp.load(model)
    finally:
        file.write_text(kept)


def test_tensors_are_counted_before_they_are_allocated() -> None:
    with pytest.raises(AaspError, match=r"^too much$"), Within(100, "too much"):
        torch.empty(10**6, 10**6)
    with Within(100, "too much"):
        assert torch.zeros(10, 5).shape == torch.full((5, 10), 7.0).mT.shape
        with pytest.raises(AaspError):
            torch.ones(1)


def test_a_file_cannot_cause_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ModuleType("lazy_module")
    lazy.__getattr__ = lambda name: pytest.fail("imported")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    for name in ("lazy_module:Stem", "os:system", "never_imported:Stem"):
        with pytest.raises(AaspError):
            STEMS.known(name)
    assert "never_imported" not in sys.modules
