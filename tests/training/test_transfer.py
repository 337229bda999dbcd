"""Weights taken from another model, and the lines that list them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aasp.training.transfer import grouped, transfer


def module(width: int, deeper: bool = False) -> nn.Module:
    parts = {"first": nn.Linear(3, width), "last": nn.Linear(4, 2)}
    return nn.ModuleDict(parts | ({"more": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))} if deeper else {}))


def test_tensors_that_fit_are_copied_and_layers_stay_whole() -> None:
    torch.manual_seed(0)
    source, target = module(5, deeper=True), module(5)
    given = source.state_dict() | {"last.weight": torch.zeros(2, 7)}
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    done = transfer(target, given)
    assert done.taken == ("first.weight", "first.bias") and done.new == ()
    assert done.unfit == {"last.weight": ((2, 7), (2, 4)), "last.bias": ((2,), (2,))}
    assert set(done.unused) == {"more.0.weight", "more.0.bias", "more.1.weight", "more.1.bias"}
    after = target.state_dict()
    assert all(torch.equal(after[name], given[name]) for name in done.taken)
    assert all(torch.equal(after[name], before[name]) for name in done.unfit)


def test_tensors_missing_in_the_source_are_unchanged() -> None:
    source, target = module(5), module(5, deeper=True)
    before = target["more"][1].weight.clone()
    done = transfer(target, source.state_dict())
    assert done.new == ("more.0.weight", "more.0.bias", "more.1.weight", "more.1.bias") and not done.unused
    assert torch.equal(target["more"][1].weight, before)
    assert torch.equal(target["last"].weight, source["last"].weight)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.x", "a.y", "b.c.x", "b.c.y", "b.d", "bc.x"], ["a", "b", "bc"]),
        (["a.x", "b.c.x", "b.c.y"], ["a.x", "b.c"]),
        (["b.d", "bc.x"], ["b.d", "bc"]),
        ([], []),
    ],
)
def test_tensors_are_listed_by_the_fewest_prefixes(names: list[str], expected: list[str]) -> None:
    assert list(grouped(names, ["a.x", "a.y", "b.c.x", "b.c.y", "b.d", "bc.x"])) == expected
