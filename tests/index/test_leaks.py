"""Copies of one recording in two parts are a leak, whatever rows without a part are between them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from aasp.audio.io import read
from aasp.cli.main import main
from aasp.index import Index
from aasp.index.duplicates import Duplicate
from aasp.index.leaks import leaks

Run = Callable[..., str]
Write = Callable[..., None]
RATE = 16_000


def table(path: Path, column: str, parts: dict[str, object]) -> Path:
    """A manifest of files and their parts."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"path": list(parts), column: list(parts.values())}), path)
    else:
        lines = [f"{name},{'' if part is None else part}" for name, part in parts.items()]
        path.write_text("\n".join([f"path,{column}", *lines]) + "\n")
    return path


def names(found: list[dict]) -> list[tuple[str, str, object, object]]:
    return [(Path(one["path"]).stem, Path(one["other_path"]).stem, one["part"], one["other_part"]) for one in found]


@pytest.mark.parametrize("manifest", ["list.csv", "list.parquet"])
@pytest.mark.parametrize(
    ("parts", "pairs", "code"),
    [
        ((None, "train", "test"), [("a", "b", None, "train"), ("b", "c", "train", "test")], 1),
        (("train", None, "test"), [("a", "b", "train", None), ("a", "c", "train", "test")], 1),
        ((None, "train", "train"), [("a", "b", None, "train"), ("b", "c", "train", "train")], 0),
        (("train", None, None), [("a", "b", "train", None), ("a", "c", "train", None)], 0),
    ],
)
def test_a_file_without_a_part_is_in_no_leak_and_hides_none(
    parts: tuple, pairs: list, code: int, manifest: str, tmp_path: Path, model: Path, noise: Write, run: Run
) -> None:
    noise(tmp_path / "a.wav", 0)
    for name in ("b.wav", "c.wav"):
        shutil.copy(tmp_path / "a.wav", tmp_path / name)
    listed = table(tmp_path / manifest, "split", dict(zip(["a.wav", "b.wav", "c.wav"], parts, strict=True)))
    run("index", model, listed, "--out", tmp_path / "i")
    found = json.loads(run("duplicates", tmp_path / "i", "--format", "json", code=code))
    assert names(found) == pairs


def test_not_a_number_is_no_part(tmp_path: Path, model: Path, noise: Write, run: Run) -> None:
    noise(tmp_path / "a.wav", 0)
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    listed = table(tmp_path / "list.parquet", "fold", {"a.wav": 1.0, "b.wav": math.nan})
    run("index", model, listed, "--out", tmp_path / "i")
    run("duplicates", tmp_path / "i")


def test_two_excerpts_of_a_file_without_a_part_are_a_leak(tmp_path: Path, model: Path, run: Run) -> None:
    """They share too little to be compared directly: 1 s of 3 s each."""
    wave = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE)
    for name, part in (("a", wave), ("b", wave[: 3 * RATE]), ("c", wave[2 * RATE :])):
        soundfile.write(tmp_path / f"{name}.wav", part, RATE)
    listed = table(tmp_path / "list.csv", "split", {"a.wav": None, "b.wav": "train", "c.wav": "test"})
    run("index", model, listed, "--out", tmp_path / "i")
    found = json.loads(run("duplicates", tmp_path / "i", "--threshold", "-1", "--format", "json", code=1))
    pairs = [("a", "b", None, "train"), ("a", "c", None, "test"), ("b", "c", "train", "test")]
    assert (names(found), [one["same"] for one in found]) == (pairs, ["waveform", "waveform", "chain"])
    assert [one["later"] for one in found] == [0.0, -2.0, -2.0]
    assert found[2]["correlation"] == min(one["correlation"] for one in found)


@pytest.mark.parametrize(
    ("parts", "pairs"),
    [
        (["train", "test", None, None], {(0, 1)}),
        (["train", None, "test", "test"], {(0, 2)}),  # one pair names both parts
        (["train", "train", "valid", "test"], {(1, 2), (2, 3)}),
        (["train", None, "valid", "test"], {(2, 3), (0, 2)}),  # the first row's part is named as well
        (["valid", "test", None, "train"], {(0, 1), (0, 3)}),
        ([None, "test", None, "test"], set()),
    ],
)
def test_each_part_of_a_group_is_named(parts: list, pairs: set, index: Index) -> None:
    """Row 0 is linked with row 1, row 1 with row 2, row 2 with row 3."""
    found = [Duplicate(row, row + 1, "waveform", 1.0, 0.9 - 0.1 * row, 1.0) for row in range(3)]
    torn = leaks(index, found, parts)
    assert {(one.row, one.other) for one in torn} == pairs
    for one in torn:
        assert one.later == one.other - one.row and one.correlation == pytest.approx(1.0 - 0.1 * one.other)


@pytest.fixture
def leaking(tmp_path: Path, model: Path, noise: Write, run: Run) -> Path:
    """An index of three files; `quiet.wav`, in the test part, is a copy of `a.wav` in the train part."""
    folder = tmp_path / "set"
    folder.mkdir()
    noise(folder / "a.wav", 0)
    noise(folder / "b.wav", 1)
    soundfile.write(folder / "quiet.wav", 0.3 * read(str(folder / "a.wav")), RATE)
    listed = table(folder / "list.csv", "split", {"a.wav": "train", "b.wav": "train", "quiet.wav": "test"})
    run("index", model, listed, "--out", tmp_path / "i")
    return tmp_path / "i"


def test_without_the_sounds_there_is_no_answer(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["duplicates", str(leaking), "--root", "nowhere", "--format", "json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert "no leak" not in captured.err and "--root" in captured.err.splitlines()[-1]
    assert f"{leaking}: 3 file(s) could not be read and were not checked for leaks" in captured.err
    (leaking.parent / "set" / "quiet.wav").unlink()
    assert main(["duplicates", str(leaking)]) == 2
    assert "1 file(s) could not be read and were not checked" in capsys.readouterr().err


def test_a_leak_counts_also_if_other_sounds_are_unreadable(leaking: Path, run: Run) -> None:
    (leaking.parent / "set" / "b.wav").unlink()
    assert "quiet.wav" in run("duplicates", leaking, "--threshold", "-1", code=1)
