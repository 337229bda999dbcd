"""Checkpoints of others are read as tensors, or refused in one line: code, damage, nothing of use."""

from __future__ import annotations

import os
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path, PosixPath

import numpy as np
import pytest
import torch

from aasp.convert.published import read_published
from aasp.errors import AaspError


class Trap:
    """What a pickle runs when it is loaded."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.touched),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_with_code_is_refused_and_the_code_never_runs(legacy: bool, tmp_path: Path) -> None:
    held = {"model": {"weight": torch.zeros(2)}, "hook": Trap(tmp_path / "touched")}
    torch.save(held, tmp_path / "trap.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(AaspError, match=r"trap.pth: holds code besides tensors \(\w+.mkdir\)") as refused:
        read_published(tmp_path / "trap.pth")
    assert "\n" not in str(refused.value)
    assert ".safetensors" in str(refused.value) and not (tmp_path / "touched").exists()


def test_options_of_a_training_beside_the_tensors_are_no_code(tmp_path: Path) -> None:
    held = {"model": {"weight": torch.ones(2, dtype=torch.float16)}, "args": Namespace(lr=0.1), "epoch": 3}
    torch.save(held, tmp_path / "mae.pth")
    given = read_published(tmp_path / "mae.pth")
    taken = given.take("weight", 2)
    assert torch.equal(taken, torch.ones(2)) and taken.dtype == torch.float32
    given.end()


def renamed(file: Path, to: Path, old: bytes, new: bytes) -> None:
    """Copy a file of PyTorch's with another name in its pickle."""
    with zipfile.ZipFile(file) as given, zipfile.ZipFile(to, "w") as made:
        for name in given.namelist():
            held = given.read(name)
            if name.endswith("data.pkl"):
                assert old in held
                held = held.replace(old, new)
            made.writestr(name, held)


@pytest.mark.parametrize("system", ["Posix", "Windows"])
@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_among_the_options_are_no_code(module: str, system: str, tmp_path: Path) -> None:
    """Those of Audio-MAE's pre-training; Python 3.13 wrote another name."""
    held = {"model": {"weight": torch.ones(2)}, "args": Namespace(out=PosixPath("/runs/1"), log=PosixPath(""))}
    torch.save(held, tmp_path / "new.pth")
    renamed(tmp_path / "new.pth", tmp_path / "mae.pth", b"pathlib\nPosixPath", f"{module}\n{system}Path".encode())
    assert torch.equal(read_published(tmp_path / "mae.pth").take("weight", 2), torch.ones(2))


@pytest.mark.parametrize("core", ["core", "_core"])
def test_numbers_of_numpy_s_are_no_code(core: str, tmp_path: Path) -> None:
    """Fairseq's `extra_state` of a fine-tuned EAT; earlier versions of NumPy wrote another name."""
    extra = {"best": np.float64(0.486), "loss": np.float32(0.1), "num_updates": np.int64(7)}
    torch.save({"model": {"weight": torch.ones(2)}, "extra_state": extra}, tmp_path / "new.pt")
    core_name = f"numpy.{core}.multiarray".encode()
    renamed(tmp_path / "new.pt", tmp_path / "tuned.pt", b"numpy._core.multiarray", core_name)
    assert torch.equal(read_published(tmp_path / "tuned.pt").take("weight", 2), torch.ones(2))


class Made:
    """Calls a function when it is loaded."""

    def __init__(self, *made: object) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.made[0], self.made[1:]


SCALAR = np.float64(0).__reduce__()[0]


@pytest.mark.parametrize(
    "value",
    [
        Made(SCALAR, Made(np.dtype, f"V{2**30}", False, True)),  # NumPy allocates a gigabyte
        Made(SCALAR, Made(np.dtype, f"V{2**30}", False, True), b"1"),
        Made(SCALAR, Made(np.dtype, "O", False, True), b"1"),
        Made(SCALAR, Made(np.dtype, "<f8", False, True), b"1"),
    ],
)
def test_a_number_is_a_number(value: object, tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.ones(2)}, "extra_state": {"best": value}}, tmp_path / "tuned.pt")
    with pytest.raises(AaspError, match=r"tuned.pt: no checkpoint of PyTorch's that is whole"):
        read_published(tmp_path / "tuned.pt")


def test_paths_within_paths_do_not_grow(tmp_path: Path) -> None:
    value: object = "x" * 100
    for _ in range(40):
        value = Made(PosixPath, value, value)
    torch.save({"model": {"weight": torch.ones(2)}, "args": value}, tmp_path / "mae.pth")
    assert torch.equal(read_published(tmp_path / "mae.pth").take("weight", 2), torch.ones(2))


@pytest.mark.parametrize("part", [1, b"runs", ("/",)])
def test_a_path_is_of_text(part: object, tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.ones(2)}, "args": Made(PosixPath, part)}, tmp_path / "mae.pth")
    with pytest.raises(AaspError, match=r"mae.pth: no checkpoint of PyTorch's that is whole"):
        read_published(tmp_path / "mae.pth")


@pytest.mark.parametrize("value", [np.array([1.0]), np.datetime64("2026-11-30"), np.ones])
def test_everything_else_of_numpy_s_is_refused(value: object, tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.ones(2)}, "extra_state": {"best": value}}, tmp_path / "tuned.pt")
    with pytest.raises(AaspError, match=r"tuned.pt: (holds code besides tensors|no checkpoint)") as refused:
        read_published(tmp_path / "tuned.pt")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"", "no checkpoint of PyTorch's"),
        ("a.pt", b"hello", "no checkpoint of PyTorch's"),
        ("a.pt", b"PK\x03\x04 and so on", "no checkpoint of PyTorch's"),
        ("a.safetensors", b"hello", "not readable as safetensors"),
        ("a.pt", torch.zeros(3), "a Tensor, not tensors by name"),
        ("a.pt", {"epoch": 3, "loss": 0.1}, r"no tensors by name \(it holds epoch, loss\)"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(name: str, content: object, message: str, tmp_path: Path) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(AaspError, match=message) as refused:
        read_published(tmp_path / name)
    assert "\n" not in str(refused.value) and name in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such file"):
        read_published(tmp_path / "gone.pt")
