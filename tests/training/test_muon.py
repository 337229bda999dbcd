"""Muon against its definition by singular values, beside AdamW, with skipped steps, and resumed."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_resume import outcome
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from toy_training import OPTIMIZER, toy_run

from aasp.config import fingerprint, to_dict, with_fields
from aasp.errors import AaspError
from aasp.training.matrices import MuonConfig
from aasp.training.muon import COEFFICIENTS, orthogonalised, products
from aasp.training.optim import OptimizerConfig, build, named_states, set_step, step_unless
from plain import plain_tiny

MUON = MuonConfig(lr=0.02, momentum=0.9, weight_decay=0.1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(4, 6), nn.Linear(6, 3)])
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks[1](self.blocks[0](x).tanh()).tanh())


def by_singular_values(matrix: np.ndarray) -> np.ndarray:
    """The iteration's effect, on the singular values alone."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.linalg.norm(s)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    return u * s @ v


@pytest.mark.parametrize("shape", [(6, 6), (5, 12), (12, 5), (1, 7)])
def test_the_iteration_acts_on_singular_values_alone(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = orthogonalised(1e-3 * matrix)
    np.testing.assert_allclose(found, by_singular_values(matrix.numpy()), atol=1e-4)
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.21 and values.min() > 0.3


@pytest.mark.parametrize("shape", [(6, 6), (4, 24), (24, 4)])
def test_its_products_are_counted(shape: tuple[int, int]) -> None:
    with FlopCounterMode(display=False) as counter:
        orthogonalised(torch.randn(shape))
    assert products(*shape) == counter.get_total_flops()


def test_muon_takes_the_matrices_of_blocks_wherever_they_are() -> None:
    matrix, vector = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    for name in ("blocks.0.mlp.weight", "student.encoder.blocks.3.attention.qkv.weight", "estimator.2.mlp.0.weight"):
        assert MUON.takes(name, matrix) and not MUON.takes(name, vector)
        assert not MUON.takes(name.replace("weight", "bias"), matrix)
    for name in ("head.weight", "sunblocks.weight", "estimators.0.weight", "blocks.weight"):
        assert not MUON.takes(name, matrix)


def test_matrices_of_blocks_move_by_muon_and_the_rest_by_adamw() -> None:
    net, twin = Net(), Net()
    config = OptimizerConfig(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, matrices=MUON)
    ours, adamw = build(net, config), build(twin, replace(config, matrices=OptimizerConfig().matrices))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    momentum = [np.zeros((6, 4)), np.zeros((3, 6))]
    for rate in (0.5e-3, 1e-3):  # the schedule's, of a peak of 1e-3: Muon's is then half of, and all of, 0.02
        expected = [block.weight.detach().double().numpy() for block in net.blocks]
        for model, optimizer in ((net, ours), (twin, adamw)):
            optimizer.zero_grad()
            model(x).square().sum().backward()
        for k, block in enumerate(net.blocks):
            gradient = block.weight.grad.double().numpy()
            momentum[k] = 0.9 * momentum[k] + 0.1 * gradient
            change = by_singular_values(0.9 * momentum[k] + 0.1 * gradient)
            scale = max(1, change.shape[0] / change.shape[1]) ** 0.5
            muon = 0.02 * rate / 1e-3
            expected[k] = (1 - muon * 0.1) * expected[k] - muon * scale * change
        for optimizer in (ours, adamw):
            set_step(optimizer, rate, 0.05)
            optimizer.step()
        for k, block in enumerate(net.blocks):
            np.testing.assert_allclose(block.weight.detach(), expected[k], atol=1e-5)
        torch.testing.assert_close(net.head.weight, twin.head.weight) if rate < 1e-3 else None
        twin.load_state_dict(net.state_dict())
    kinds = {name: sorted(state) for name, _, state in named_states(ours)}
    assert kinds["blocks.0.weight"] == ["momentum"] and kinds["blocks.0.bias"] == ["exp_avg", "exp_avg_sq", "step"]


def test_a_skipped_step_changes_nothing_and_the_next_one_works() -> None:
    net = Net()
    optimizer = build(net, OptimizerConfig(matrices=MUON))
    set_step(optimizer, 1e-3, 0.05)

    def step(value: float, veto: bool) -> list[torch.Tensor]:
        optimizer.zero_grad()
        (net(torch.ones(1, 4)).sum() * value).backward()
        step_unless(optimizer, torch.tensor(veto))
        tensors = [*net.parameters(), *(t for _, _, state in named_states(optimizer) for t in state.values())]
        return [tensor.detach().clone() for tensor in tensors]

    before, vetoed, after = step(1.0, False), step(float("nan"), True), step(1.0, False)
    assert all(torch.equal(a, b) for a, b in zip(before, vetoed, strict=True))
    assert all(torch.isfinite(tensor).all() for tensor in after) and not torch.equal(before[0], after[0])


@dataclass(frozen=True)
class AllMatrices(MuonConfig):
    def takes(self, name: str, parameter: torch.Tensor) -> bool:
        return parameter.ndim == 2 and name.endswith("weight")


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    settings = {"optimizer": replace(OPTIMIZER, matrices=AllMatrices())}
    assert toy_run(tmp_path / "whole", **settings).exit_code == 0
    for step in (2, 9):
        assert toy_run(tmp_path / "parts", signals={step: signal.SIGTERM}, **settings).exit_code == 75
    assert toy_run(tmp_path / "parts", **settings).exit_code == 0
    whole, parts = outcome(tmp_path / "whole"), outcome(tmp_path / "parts")
    assert whole == parts and "optimizer/student.0.weight/momentum" in whole[3]


def test_recipes_without_it_are_unchanged() -> None:
    tiny = plain_tiny()
    assert "matrices" not in to_dict(tiny.optimizer)
    muon = with_fields(tiny, {"optimizer.matrices": "muon", "optimizer.matrices.lr": "0.01"})
    assert to_dict(muon.optimizer)["matrices"] == {"kind": "muon", "lr": 0.01, "momentum": 0.95, "weight_decay": 0.005}
    assert fingerprint(muon) != fingerprint(tiny)
    with pytest.raises(AaspError, match=r"optimizer\.matrices.*lr.*-1"):
        with_fields(tiny, {"optimizer.matrices": "muon", "optimizer.matrices.lr": "-1"})


def test_hooks_of_a_step_are_called_once() -> None:
    """torch wraps the step of every class of optimizers with hooks, so also the step of AdamW inside Muon's."""
    net, calls = Net(), []
    torch.optim.AdamW(net.parameters())
    optimizer = build(net, OptimizerConfig(matrices=MUON))
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    net(torch.randn(2, 4)).sum().backward()
    before = [parameter.clone() for parameter in net.parameters()]
    set_step(optimizer, 0.01, 0.0)
    optimizer.step()
    assert len(calls) == 1
    assert not any(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))
