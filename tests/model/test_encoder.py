"""The transformer, its positions and its pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from aasp.errors import AaspError
from aasp.model.attention import attend
from aasp.model.encoder import Encoder, EncoderConfig
from aasp.model.pooling import POOLINGS, pool
from aasp.model.positions import Places, positions, sincos_positions


def test_attention_is_the_fused_kernels() -> None:
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    valid = torch.rand(2, 7) > 0.4
    valid[:, 0] = True
    for mask in (None, valid):
        fused = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=None if mask is None else mask[:, None, None]
        )
        torch.testing.assert_close(attend(q, k, v, mask), fused, rtol=1e-5, atol=1e-6)


def test_positions_are_the_formula() -> None:
    positions = sincos_positions((5, 3), 16).numpy()
    for g in range(5):
        for f in range(3):
            for i in range(4):
                rate = 10_000 ** (-i / 4)
                expected = [np.sin(g * rate), np.cos(g * rate), np.sin(f * rate), np.cos(f * rate)]
                np.testing.assert_allclose(positions[g * 3 + f, [i, 4 + i, 8 + i, 12 + i]], expected, atol=1e-6)


def test_positions_do_not_depend_on_length() -> None:
    assert torch.equal(sincos_positions((7, 4), 32)[:8], sincos_positions((2, 4), 32))


def test_some_of_a_grid_are_encoded_at_their_own_places() -> None:
    torch.manual_seed(0)
    encoder, tokens = Encoder(EncoderConfig(32, 2, 4)).eval(), torch.randn(2, 12, 32)
    some = torch.tensor([[1, 7, 8], [0, 3, 11]])
    seen = torch.zeros(2, 12, dtype=torch.bool).scatter(1, some, True)
    whole = encoder(tokens, Places((4, 3)), seen)
    part = encoder(tokens.gather(1, some[..., None].expand(-1, -1, 32)), Places((4, 3), some))
    expected = whole.last[:, 1:].gather(1, some[..., None].expand(-1, -1, 32))
    torch.testing.assert_close(part.last[:, 1:], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(part.tokens, whole.tokens.gather(1, some[..., None].expand(-1, -1, 32)))
    times, bands = Places((4, 3), some).coordinates()
    assert times.tolist() == [[0, 2, 2], [0, 1, 3]] and bands.tolist() == [[1, 1, 2], [0, 0, 2]]
    assert Places((2, 2)).coordinates()[0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_invalid_tokens_change_nothing(norm: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(32, 3, 4, norm=norm)).eval()
    tokens = torch.randn(2, 9, 32)
    valid = torch.arange(9) < torch.tensor([[5], [9]])
    line = Places((9, 1), torch.arange(9)[None])
    alone = encoder(tokens[:1, :5], Places((5, 1)), layers=True)
    together = encoder(tokens, line, valid, layers=True)
    for one, both in zip([alone.last, *alone.ffn], [together.last, *together.ffn], strict=True):
        torch.testing.assert_close(both[:1, :6], one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_layer_outputs_are_the_layers(norm: str) -> None:
    encoder = Encoder(EncoderConfig(32, 3, 4, norm=norm)).eval()
    output = encoder(torch.randn(2, 9, 32), Places((3, 3)), layers=True)
    assert len(output.blocks) == len(output.ffn) == 3
    last = encoder.norm(output.blocks[-1]) if norm == "pre" else output.blocks[-1]
    assert torch.equal(output.last, last)
    mean = output.last.mean(-1)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)


def test_drop_path_drops_whole_sequences_only_in_training() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(32, 2, 4, drop_path=0.9))
    tokens = torch.randn(64, 4, 32)
    here = Places((2, 2))
    trained, evaluated = encoder(tokens, here).last, encoder.eval()(tokens, here).last
    assert torch.equal(evaluated, encoder(tokens, here).last)
    given = torch.cat([encoder.class_token.expand(64, 1, -1), tokens + positions(here, 32)], 1)
    untouched = (encoder.norm(given) - trained).abs()
    assert not torch.allclose(trained, evaluated)
    assert untouched.amax().isfinite()


def test_width_must_fit_heads() -> None:
    with pytest.raises(AaspError, match="width 190"):
        EncoderConfig(width=190)


@pytest.mark.parametrize("method", POOLINGS)
def test_pooling_against_loops(method: str) -> None:
    rng = np.random.default_rng(0)
    tokens, cls = rng.normal(size=(2, 4 * 3, 5)).astype(np.float32), rng.normal(size=(2, 5)).astype(np.float32)
    valid = np.array([[True, True, True, False], [True] * 4])
    pooled = pool(torch.from_numpy(tokens), torch.from_numpy(cls), 3, torch.from_numpy(valid), method)
    for b in range(2):
        columns = [tokens[b].reshape(4, 3, 5)[g] for g in range(4) if valid[b, g]]
        columns = [c.mean(0) if method.startswith("mean") else c.reshape(-1) for c in columns]
        expected = np.mean(columns, axis=0)
        if method.endswith("+std"):
            expected = np.concatenate([expected, np.std(columns, axis=0)])
        if method == "cls":
            expected = cls[b]
        np.testing.assert_allclose(pooled[b].numpy(), expected, atol=1e-6)
