"""Output files are whole or absent, and nothing is overwritten without asking."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from aasp.errors import AaspError
from aasp.files import atomic_write, check_output


def test_the_file_appears_whole_with_its_parents(tmp_path: Path) -> None:
    target = tmp_path / "new" / "x.npz"
    with atomic_write(target) as beside:
        np.savez(beside, a=np.arange(3))
        assert not target.exists()
    assert np.load(target)["a"].tolist() == [0, 1, 2]
    assert os.listdir(target.parent) == ["x.npz"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_an_interruption_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_reported_as_such_from_any_library(tmp_path: Path, failure: Exception) -> None:
    target = tmp_path / "x.bin"
    with pytest.raises(OSError) as caught, atomic_write(target) as beside:
        beside.write_bytes(b"half")
        raise failure
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(target)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_on_sync_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError), atomic_write(target) as beside:
        beside.write_text("new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_output_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert check_output(tmp_path / "a" / "b" / "new.npz") == tmp_path / "a" / "b" / "new.npz"
    assert check_output(tmp_path / "file", overwrite=True) == tmp_path / "file"
    with pytest.raises(AaspError, match=r"output exists.*--overwrite"):
        check_output(tmp_path / "file")
    with pytest.raises(AaspError, match="output is a folder"):
        check_output(tmp_path, overwrite=True)
    with pytest.raises(AaspError, match="not a folder"):
        check_output(tmp_path / "file" / "x.npz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(AaspError, match="read-only"):
        check_output(tmp_path / "x.npz")
