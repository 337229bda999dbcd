"""Which parameters decay, and what a skipped step leaves unchanged."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch
from torch import nn

from aasp.training.optim import adamw, named_states, parameter_groups, set_step, step_unless


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 2)
        self.norm = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.embedding = nn.Embedding(3, 4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.positions = nn.Parameter(torch.zeros(5, 4))
        self.teacher = nn.Linear(4, 4).requires_grad_(False)


def test_only_weight_matrices_and_kernels_decay() -> None:
    decaying, kept = parameter_groups(Net())
    assert decaying["names"] == ["conv.weight", "attention.in_proj_weight", "attention.out_proj.weight"]
    assert set(kept["names"]) == {
        *("class_token", "positions", "conv.bias", "norm.weight", "norm.bias", "embedding.weight"),
        *("attention.in_proj_bias", "attention.out_proj.bias"),
    }


def test_set_step_gives_decay_to_the_decaying_group_only() -> None:
    optimizer = adamw(Net())
    set_step(optimizer, 0.1, 0.2)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.1, 0.2), (0.1, 0.0)]


def test_shares_of_the_rate_make_groups_of_their_own() -> None:
    net = Net()
    optimizer = adamw(net, rate_of=lambda name: 0.5 if name.startswith(("conv", "norm")) else 1.0)
    set_step(optimizer, 0.1, 0.2)
    groups = {tuple(g["names"]): (g["lr"], g["weight_decay"], g["decays"]) for g in optimizer.param_groups}
    assert groups.pop(("conv.weight",)) == (0.05, 0.2, True)
    assert groups.pop(("attention.in_proj_weight", "attention.out_proj.weight")) == (0.1, 0.2, True)
    assert groups.pop(("conv.bias", "norm.weight", "norm.bias")) == (0.05, 0.0, False)
    ((rest, settings),) = groups.items()
    assert {"class_token", "positions", "embedding.weight"} < set(rest) and settings == (0.1, 0.0, False)
    assert [g["decays"] for g in optimizer.param_groups] == [True, True, False, False], "those that decay first"


def test_a_step_is_the_reference_implementations() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    reference = nn.Linear(3, 2)
    reference.load_state_dict(net.state_dict())
    ours = adamw(net, betas=(0.9, 0.95))
    theirs = torch.optim.AdamW(
        [{"params": [reference.weight], "weight_decay": 0.2}, {"params": [reference.bias], "weight_decay": 0.0}],
        lr=0.1,
        betas=(0.9, 0.95),
        fused=False,
        foreach=False,
    )
    for step in range(4):
        set_step(ours, 0.1, 0.2)
        for module, optimizer in ((net, ours), (reference, theirs)):
            optimizer.zero_grad()
            module(torch.full((2, 3), float(step))).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(net.weight, reference.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net.bias, reference.bias, rtol=1e-5, atol=1e-6)


def test_a_skipped_step_changes_nothing_and_the_next_one_works() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    optimizer = adamw(net)
    set_step(optimizer, 0.1, 0.1)

    def step(value: float, veto: bool) -> None:
        optimizer.zero_grad()
        (net(torch.ones(1, 3)).sum() * value).backward()
        step_unless(optimizer, torch.tensor(veto))

    step(1.0, veto=False)
    snapshot = lambda: (
        [net.weight.clone(), net.bias.clone()]
        + [tensor.clone() for _, _, state in named_states(optimizer) for tensor in state.values()]
    )
    before = snapshot()
    step(float("nan"), veto=True)
    assert all(torch.equal(a, b) for a, b in zip(before, snapshot(), strict=True))
    step(1.0, veto=False)
    assert torch.isfinite(net.weight).all() and not torch.equal(before[0], net.weight)


@pytest.mark.parametrize("vetoed", [False, True])
def test_where_the_kernel_may_ignore_a_veto_it_is_read(vetoed: bool) -> None:
    class Veto:
        device = torch.device("mps")

        def __bool__(self) -> bool:
            return vetoed

        def to(self, dtype: torch.dtype) -> torch.Tensor:
            return torch.tensor(vetoed, dtype=dtype)

    optimizer = Mock()
    step_unless(optimizer, Veto())  # type: ignore[arg-type]
    assert optimizer.step.call_count == (not vetoed)
