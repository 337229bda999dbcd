"""AST's patch embedding is its convolution, with its numbers of tokens and parameters."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from aasp.errors import AaspError
from aasp.model.architectures import ast_base
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.ast import ASTConfig, ASTStem


@torch.no_grad()
def test_it_is_a_convolution_of_kernels_that_overlap() -> None:
    torch.manual_seed(0)
    stem, mel = ASTStem(8), torch.randn(2, 57, 128)
    weight = stem.project.weight.unflatten(1, (1, 16, 16))
    padded = functional.pad(mel, (0, 0, 3, 60 - 57 + 3))[:, None]  # whole strides, and three frames around
    expected = functional.conv2d(padded, weight, stem.project.bias, stride=10).flatten(2).mT
    assert stem.grid(57) == (6, 12)
    torch.testing.assert_close(stem(mel), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_no_token_of_a_clip_sees_beyond_its_end() -> None:
    torch.manual_seed(0)
    stem, mel = ASTStem(8), torch.randn(1, 60, 128)
    valid = stem.valid_patches(torch.tensor([30]), 60)
    other = mel.clone()
    other[:, 30:] += 1.0
    own = valid[0]
    assert own.sum() == 36 and torch.equal(stem(mel, valid)[:, own], stem(other, valid)[:, own])
    assert not torch.equal(stem(mel)[:, own], stem(other)[:, own])


def test_it_has_the_published_tokens_and_parameters() -> None:
    """1,212 tokens of ten seconds, 86.6 M with a table of 1,214 positions, a second token and a head of 527 classes."""
    config = ast_base()
    with torch.device("meta"):
        model = AudioEncoder(config)
    columns, rows = model.stem.grid(config.frontend.frames(160_000))
    assert rows == 12 and columns * rows == pytest.approx(1_212, rel=0.01) and config.window_patches == 100
    more = (1_214 + 1) * 768 + 2 * 768 + 527 * 769
    assert sum(p.numel() for p in model.parameters()) + more == pytest.approx(86.6e6, rel=0.01)


@torch.no_grad()
def test_longer_clips_and_padding_change_no_embedding() -> None:
    torch.manual_seed(0)
    config = ast_base()
    small = type(config)(config.frontend, ASTConfig(), type(config.encoder)(16, 1, 2), window_seconds=0.4)
    model, wave = AudioEncoder(small).eval(), 0.1 * torch.randn(2, 20_000)
    whole, lengths = model(wave, torch.tensor([20_000, 9_000])), torch.tensor([9_000])
    short = model(wave[1:, :9_000], lengths)
    torch.testing.assert_close(whole.clip[1], short.clip[0], rtol=1e-4, atol=1e-5)


def test_an_encoder_has_the_subbands_of_its_kernels() -> None:
    config = AudioEncoderConfig(stem=ASTConfig(kernel=(16, 32)), encoder=EncoderConfig(16, 1, 2), window_seconds=0.4)
    model = AudioEncoder(config)
    assert model.subbands == model.stem.subbands == 10
    assert model(torch.zeros(1, 9_000)).timestamps.shape[2] == 10 * 16


def test_impossible_settings_are_one_line() -> None:
    with pytest.raises(AaspError, match="kernels of 8 mel bins, 10 from one to the next, leave some out"):
        ASTConfig(kernel=(16, 8))
    with pytest.raises(AaspError, match="a kernel of 16 mel bins does not fit into 12"):
        ASTStem(8, 12)
    with pytest.raises(AaspError, match="masked ones would leak; train with whole clips"):
        ASTStem(8).views(torch.zeros(1, 20, 128), torch.zeros(1, 1, 3, dtype=torch.long))
