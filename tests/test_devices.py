"""Devices by name: those available, and one line for others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import aasp
from aasp.devices import copied, device_of
from aasp.errors import AaspError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine with so many of CUDA's GPUs, and Apple's."""
    cuda, mps = getattr(request, "param", (0, False))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("gpus", "name", "expected"),
    [
        ((0, False), "auto", "cpu"),
        ((0, False), "CPU", "cpu"),
        ((0, False), "cpu:0", "cpu"),
        ((2, False), "auto", "cuda"),
        ((2, True), "auto", "cuda"),
        ((0, True), "auto", "mps"),
        ((2, False), "cuda", "cuda"),
        ((2, False), "cuda:1", "cuda:1"),
        ((0, True), "mps:0", "mps:0"),
        ((2, False), "cpu", "cpu"),
    ],
    indirect=["gpus"],
)
def test_names(gpus: None, name: str, expected: str) -> None:
    assert device_of(name) == torch.device(expected)
    assert device_of(torch.device(expected)) == torch.device(expected)


@pytest.mark.parametrize(
    ("gpus", "name", "message"),
    [
        ((0, False), "gpu", "no such device: gpu; give auto, cpu, cuda, mps, or one of several as in cuda:1"),
        ((0, False), "cuda:x", "no such device: cuda:x"),
        ((0, False), "cuda:-1", "no such device: cuda:-1"),
        ((2, False), "auto:1", "no such device: auto:1"),
        ((0, False), "cuda:", "no such device: cuda:"),
        ((0, False), "cuda", "no device cuda: this machine has cpu, or this torch is not built for it; choose another"),
        ((2, False), "cuda:2", "no device cuda:2: this machine has cpu, cuda:0, cuda:1"),
        ((2, False), "mps", "no device mps: this machine has cpu, cuda:0, cuda:1"),
        ((0, False), "cpu:1", "no device cpu:1: this machine has cpu; choose another, or auto"),
    ],
    indirect=["gpus"],
)
def test_an_unavailable_device_is_one_line(gpus: None, name: str, message: str) -> None:
    with pytest.raises(AaspError) as error:
        device_of(name)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "calls"),
    [("cuda", ["pinned", ("cuda", {"non_blocking": True})]), ("mps", [("mps", {})]), ("cpu", [("cpu", {})])],
)
def test_the_host_waits_for_a_copy_unless_it_is_from_pinned_memory_to_cuda(
    kind: str, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: made.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **how: made.append((device.type, how)) or self)
    copied(torch.zeros(2), torch.device(kind))
    assert made == calls


def test_only_one_function_copies_without_waiting() -> None:
    files = Path(aasp.__file__).parent.rglob("*.py")
    assert [path.name for path in files if "non_blocking" in path.read_text(encoding="utf-8")] == ["devices.py"]
