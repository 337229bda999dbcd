"""A learned table of positions and a second class token, as AST has them; without them all documents stay the same."""

from __future__ import annotations

import pytest
import torch

from aasp.config import from_dict, to_dict
from aasp.errors import AaspError
from aasp.model.attention_maps import attention_maps
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.differential import DifferentialConfig
from aasp.model.encoder import Encoder, EncoderConfig
from aasp.model.positions import Places
from aasp.stems.conv import ConvConfig

LEARNED = EncoderConfig(width=24, depth=2, heads=3, learned=(6, 8), distilled=True)


def test_documents_name_learned_positions_only_if_used() -> None:
    assert not {"learned", "distilled"} & set(to_dict(EncoderConfig()))
    document = to_dict(LEARNED)
    assert document["learned"] == [6, 8] and document["distilled"] is True
    assert from_dict(EncoderConfig, document, "config.json") == LEARNED
    with pytest.raises(AaspError, match="learned is 0"):
        EncoderConfig(learned=(0, 8))
    with pytest.raises(AaspError, match="works only with attention=full"):
        EncoderConfig(width=24, heads=3, distilled=True, attention=DifferentialConfig())


@torch.no_grad()
def test_tokens_get_the_positions_of_their_places() -> None:
    encoder = Encoder(LEARNED)
    tokens, index = torch.randn(2, 3, 24), torch.tensor([[0, 9, 30], [8, 1, 47]])
    some = encoder(tokens, Places((6, 8), index)).tokens
    flat = encoder.positions.flatten(0, 1)
    torch.testing.assert_close(some, tokens + flat[index])
    short = encoder(torch.zeros(1, 16, 24), Places((2, 8))).tokens
    torch.testing.assert_close(short[0], flat[:16])
    for grid in ((7, 8), (6, 4)):
        with pytest.raises(AaspError, match=f"{grid[0]} time patches x {grid[1]} subbands, and learned .* 6 x 8"):
            encoder(torch.zeros(1, grid[0] * grid[1], 24), Places(grid))


@torch.no_grad()
def test_outputs_use_the_mean_of_two_class_tokens() -> None:
    encoder = Encoder(LEARNED).eval()
    tokens = torch.randn(2, 48, 24)
    output = encoder(tokens, Places((6, 8)), layers=True)
    assert output.last.shape == output.blocks[0].shape == output.ffn[0].shape == (2, 49, 24)
    first = [encoder.class_token, encoder.second_token]
    x = torch.cat([*(token.expand(2, 1, -1) for token in first), tokens + encoder.positions.flatten(0, 1)], dim=1)
    for block in encoder.blocks:
        x, _ = block(x, None)
    torch.testing.assert_close(output.last[:, 0], encoder.norm(x[:, :2]).mean(1))
    torch.testing.assert_close(output.last[:, 1:], encoder.norm(x[:, 2:]))
    hidden = encoder(tokens, Places((6, 8)), torch.arange(48).expand(2, -1) < 40).last[:, :41]
    tokens[:, 40:] = 9.0
    again = encoder(tokens, Places((6, 8)), torch.arange(48).expand(2, -1) < 40).last[:, :41]
    torch.testing.assert_close(hidden, again)


def test_maps_are_drawn_of_the_first_class_token() -> None:
    model = AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=LEARNED, window_seconds=0.96)).eval()
    maps = attention_maps(model, torch.randn(96, 128))
    assert maps.shape == (2, 3, 6, 8)
    torch.testing.assert_close(maps.mean((2, 3)), torch.ones(2, 3))
