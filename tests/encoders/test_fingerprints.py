"""What identifies a user's encoder: other weights or other code, behind any interface, are another encoder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aasp.encoders import open_adapter

CODE = """
import torch
from torch import nn
from aasp.encoders.contract import EncoderAdapter, EncoderEmbeddings
from aasp.stems.conv import ConvConfig, ConvStem

def net():
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 3, 640, 320), nn.AdaptiveAvgPool1d(1), nn.Flatten())

def closure():
    inner = net()
    return lambda wave: inner(wave)

class Holder:
    sample_rate = 16_000
    def __init__(self):
        self.parts = None
        self.net = net()
    def get_timestamp_embeddings(self, audio, model):
        return audio[:, :32_000].unflatten(1, (-1, 1600)), torch.arange(20.0).expand(len(audio), -1)
    def get_scene_embeddings(self, audio, model):
        return self.net(audio)

def stem():
    torch.manual_seed(SEED)
    return ConvStem(8, 64, ConvConfig(patch=(10, 16)))

class Whole(EncoderAdapter):
    name, rate, token_rate = "whole", 16_000, 0.0
    def __init__(self):
        torch.manual_seed(SEED)
        self.scale = float(torch.rand(()))
    def embed_waveform(self, wave):
        vector = self.scale * wave[:, :8]
        return EncoderEmbeddings(vector, vector[:, None], torch.zeros(1))
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "theirs.py"
    sys.modules.pop("theirs", None)


def identity(file: Path, name: str, code: str) -> str:
    file.write_text(code)
    sys.modules.pop("theirs", None)
    return open_adapter(f"{file}:{name}").fingerprint()


@pytest.mark.parametrize("name", ["net", "closure", "Holder", "stem", "Whole"])
def test_other_weights_are_another_encoder(
    file: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEED_OF_THEIRS", "1")
    code = CODE.replace("SEED", "int(__import__('os').environ['SEED_OF_THEIRS'])")
    one, again = (identity(file, name, code) for _ in range(2))
    monkeypatch.setenv("SEED_OF_THEIRS", "2")
    assert one == again != identity(file, name, code)


@pytest.mark.parametrize("name", ["closure", "Holder", "Whole"])
def test_other_code_is_another_encoder(file: Path, name: str) -> None:
    code = CODE.replace("SEED", "1")
    assert identity(file, name, code) != identity(file, name, code + "\nLATER = 1\n")
