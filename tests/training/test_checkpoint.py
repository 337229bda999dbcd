"""Checkpoints are whole or absent, hold no pickle, and their errors are one line."""

from __future__ import annotations

import json
import pickletools
import re
import resource
from pathlib import Path

import pytest
import torch

from aasp.errors import AaspError
from aasp.training import checkpoint
from aasp.training.checkpoint import Checkpoint


def make(step: int, size: int = 3) -> Checkpoint:
    tensors = {"weight": torch.full((size,), float(step))}
    return Checkpoint(step, model=tensors, optimizer={}, random={"0/torch": torch.get_rng_state()}, state={"x": [1.5]})


def test_a_checkpoint_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    saved = make(12)
    path = checkpoint.save(tmp_path, saved, keep=1)
    assert path.name == "step-00000012"
    loaded = checkpoint.load(path)
    assert loaded.step == 12 and loaded.state == {"x": [1.5]} and loaded.optimizer == {}
    assert torch.equal(loaded.model["weight"], saved.model["weight"])
    assert torch.equal(loaded.random["0/torch"], saved.random["0/torch"])


def test_the_last_n_are_kept(tmp_path: Path) -> None:
    for step in (5, 100_000_000, 20_000_000):
        checkpoint.save(tmp_path / "checkpoints", make(step), keep=2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-100000000", "step-20000000"]
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoints/step-100000000"


def test_a_half_written_checkpoint_is_ignored_and_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    whole = checkpoint.save(folder, make(5), keep=2)
    half = folder / ".unfinished-step-00000010"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"\x08")
    assert checkpoint.latest(tmp_path) == whole
    checkpoint.clear_unfinished(folder)
    assert list(folder.iterdir()) == [whole]


def test_without_a_checkpoint_latest_is_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None


def test_a_full_disk_keeps_the_last_checkpoint_and_leaves_nothing_half(tmp_path: Path) -> None:
    whole = checkpoint.save(tmp_path, make(5), keep=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            checkpoint.save(tmp_path, make(10, size=1_000_000), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path / "step-00000010")
    assert list(tmp_path.iterdir()) == [whole]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage", "empty"])
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, name: str, damage: str) -> None:
    path = checkpoint.save(tmp_path, make(5), keep=1)
    file = path / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes({"truncated": file.read_bytes()[:-7], "garbage": b"\x80\x04K\x01." * 9, "empty": b""}[damage])
    with pytest.raises(AaspError, match=re.escape(str(file))) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value) and "move step-00000005 away" in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "{}", "3", '{"format": 99, "step": 1}'])
def test_a_state_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    path = checkpoint.save(tmp_path, make(5), keep=1)
    (path / "state.json").write_text(content)
    with pytest.raises(AaspError):
        checkpoint.load(path)


def test_a_path_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "step-00000001")


def test_differing_names_and_shapes_are_one_line() -> None:
    one, two = {"a": torch.zeros(2)}, {"a": torch.zeros(3)}
    checkpoint.check_names(Path("f"), one, one)
    for found, expected, message in (
        (one, two, "a in f has shape (2,), expected (3,)"),
        ({}, one, "missing tensor a in f"),
        (one | {"b": torch.zeros(1)}, one, "unknown tensor b in f"),
    ):
        with pytest.raises(AaspError, match=re.escape(message)):
            checkpoint.check_names(Path("f"), found, expected)


def test_files_are_safetensors_and_json(tmp_path: Path) -> None:
    for file in checkpoint.save(tmp_path, make(5), keep=1).iterdir():
        content = file.read_bytes()
        header = content if file.suffix == ".json" else content[8 : 8 + int.from_bytes(content[:8], "little")]
        json.loads(header)
        with pytest.raises(ValueError):
            list(pickletools.genops(content))


def test_all_files_have_the_same_permissions(tmp_path: Path) -> None:
    modes = {file.stat().st_mode for file in checkpoint.save(tmp_path, make(5), keep=1).iterdir()}
    assert len(modes) == 1
