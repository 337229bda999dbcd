"""An exported file is for clips of any length: event models too, and a part that fixes a size is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aasp.deploy.graph import checked
from aasp.deploy.onnx import difference, onnx_model, session
from aasp.errors import AaspError
from aasp.features.logmel import LogMelConfig
from aasp.model.audio_classifier import AudioClassifier, AudioClassifierConfig
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.embeddings import subbands
from aasp.model.encoder import EncoderConfig
from aasp.stems import Stem, StemConfig
from aasp.stems.ast import ASTConfig
from aasp.stems.conv import ConvConfig

TOLERANCE = 1e-5
SIZE = EncoderConfig(width=16, depth=1, heads=2)


@dataclass(frozen=True)
class FixedConfig(StemConfig):
    patch: tuple[int, int] = (16, 16)

    def build(self, width: int, mels: int) -> Stem:
        return Fixed(width, mels, self.patch)


class Fixed(Stem):
    """Means of patches, through Python numbers: the exporter takes them for constants."""

    def __init__(self, width: int, mels: int, patch: tuple[int, int]) -> None:
        super().__init__(width, mels, patch)
        self.project = nn.Linear(1, width)

    def forward(self, mel_BTM: Tensor, valid_BT: Tensor | None = None) -> Tensor:
        means = self.cut(mel_BTM).mean((3, 4)).flatten(1, 2)
        return self.project(means.reshape(int(means.shape[0]), int(means.shape[1]), 1))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_an_event_model_gives_probabilities(norm: str) -> None:
    torch.manual_seed(0)
    encoder = AudioEncoderConfig(stem=ConvConfig(), encoder=SIZE, window_seconds=0.64, pooling="flat")
    how = dict(over_time=True, norm=norm, multilabel=True)
    config = AudioClassifierConfig(("dog", "rain"), encoder=encoder, **how)  # type: ignore[arg-type]
    model = AudioClassifier(config)
    with torch.no_grad():
        model.train()(0.1 * torch.randn(4, 20_000))  # statistics of a batch norm other than its first ones
        assert difference(model.eval(), "whole", session(onnx_model(model), threads=1)) <= TOLERANCE


@pytest.mark.slow
def test_a_part_that_fixes_a_size_is_refused() -> None:
    config = AudioEncoderConfig(stem=FixedConfig(), encoder=SIZE, window_seconds=0.64)
    model = AudioEncoder(config).eval()
    found = difference(model, "whole", session(onnx_model(model), threads=1))
    assert found == float("inf")
    with pytest.raises(AaspError, match=r"x\.onnx: not written: it fails for clips of another length"):
        checked(Path("x.onnx"), found, TOLERANCE)


def test_the_width_of_a_vector_is_the_stems() -> None:
    """AST's patches overlap, so 80 mels are 7 subbands, not 80 / 16 nor 80 / 10."""
    config = AudioEncoderConfig(LogMelConfig(mels=80), stem=ASTConfig(), encoder=SIZE, window_seconds=0.64)
    assert subbands(config) == AudioEncoder(config).stem.subbands == 7
