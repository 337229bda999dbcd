"""Differential attention against its equations, and what every attention must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.errors import AaspError
from aasp.model.attention import FullAttentionConfig
from aasp.model.differential import DifferentialConfig
from aasp.pretrain import recipes
from aasp.pretrain.objective import build_objective

WIDTH, HEADS = 12, 2


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@torch.no_grad()
def test_attention_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    module = DifferentialConfig(start=0.6).build(WIDTH, HEADS).double()
    module.scale.copy_(torch.rand(6) + 0.5)
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    valid = torch.tensor([[True] * 5, [True, True, True, False, False]])
    w, b = module.qkv.weight.numpy(), module.qkv.bias.numpy()
    q1, k1, q2, k2 = module.difference.numpy()
    weight = np.exp(q1 @ k1) - np.exp(q2 @ k2) + 0.6
    for clip in range(2):
        tokens = x[clip, valid[clip]].numpy()
        q, k, v = np.split(tokens @ w.T + b, 3, axis=1)
        heads = []
        for head in range(HEADS):
            own = slice(6 * head, 6 * head + 6)
            (qa, qb), (ka, kb) = (np.split(part[:, own], 2, axis=1) for part in (q, k))
            maps = softmax(qa @ ka.T / 3**0.5) - weight * softmax(qb @ kb.T / 3**0.5)
            y = maps @ v[:, own]
            y = y / np.sqrt((y * y).mean(1, keepdims=True) + 1e-5) * module.scale.numpy()
            heads.append((1 - 0.6) * y)
        expected = np.concatenate(heads, 1) @ module.out.weight.numpy().T + module.out.bias.numpy()
        np.testing.assert_allclose(module(x, valid)[clip, valid[clip]].numpy(), expected, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_attention_of_a_fixed_weight_is_that_of_asda_s_code() -> None:
    torch.manual_seed(0)
    module = DifferentialConfig(fixed=0.1).build(WIDTH, 4).double()  # heads of odd width: none is halved
    module.norm.weight.copy_(torch.rand(WIDTH) + 0.5)
    module.norm.bias.copy_(torch.randn(WIDTH))
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    valid = torch.tensor([[True] * 5, [True, True, True, False, False]])
    for clip in range(2):
        tokens = x[clip, valid[clip]].numpy()
        projected = tokens @ module.qkv.weight.numpy().T + module.qkv.bias.numpy()
        qa, qb, ka, kb, v = np.split(projected, 5, axis=1)
        heads = []
        for head in range(4):
            own = slice(3 * head, 3 * head + 3)
            map_of = lambda q, k, own=own: softmax(q[:, own] @ k[:, own].T / 3**0.5)
            heads.append((map_of(qa, ka) - 0.1 * map_of(qb, kb)) @ v[:, own])
        y = np.concatenate(heads, 1)
        y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
        y = 0.95 * (y * module.norm.weight.numpy() + module.norm.bias.numpy())
        expected = y @ module.out.weight.numpy().T + module.out.bias.numpy()
        np.testing.assert_allclose(module(x, valid)[clip, valid[clip]].numpy(), expected, rtol=1e-6, atol=1e-9)


@torch.no_grad()
def test_it_starts_as_a_difference_and_ignores_padding() -> None:
    torch.manual_seed(0)
    module, x = DifferentialConfig().build(WIDTH, HEADS), torch.randn(1, 5, WIDTH)
    valid = torch.tensor([[True, True, True, False, False]])
    other = x.clone()
    other[:, 3:] = 100
    assert torch.equal(module(x, valid)[:, :3], module(other, valid)[:, :3])
    torch.testing.assert_close(module(x, valid)[:, :3], module(x[:, :3], None), rtol=1e-5, atol=1e-6)
    half = DifferentialConfig().build(WIDTH, HEADS).bfloat16()
    assert half(x.bfloat16(), valid).dtype == torch.bfloat16


def test_it_has_a_few_more_parameters_than_full_attention() -> None:
    """Four vectors of half a head and a scale of a head in each block: 12 x 384 of 86 M."""
    numbers = lambda module: sum(parameter.numel() for parameter in module.parameters())
    ours, full = (config.build(768, 6) for config in (DifferentialConfig(), FullAttentionConfig()))
    assert numbers(ours) - numbers(full) == 4 * 64 + 128
    own = DifferentialConfig(fixed=0.1).build(768, 12)
    assert numbers(own) - numbers(full) == 2 * 768 * 769 + 2 * 768, "twice the queries and keys, and a layer norm"
    with torch.device("meta"):
        asda = build_objective(recipes.get("asda_base"))
    assert numbers(asda.student) == pytest.approx(92e6, rel=0.01)


def test_an_odd_head_is_one_line() -> None:
    with pytest.raises(AaspError, match="heads of width 5 can't be halved; change width or heads"):
        DifferentialConfig().build(20, 4)
