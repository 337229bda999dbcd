"""What is left out is named in the same lines by every command."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from aasp.cli.skipped import described, first, show, show_skipped
from aasp.datasets.index import Skipped

SEVEN = [Skipped(f"{number}.wav", "empty file") for number in range(7)]


def test_five_are_named_and_all_are_counted_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_skipped(SEVEN, tmp_path / "skipped.csv")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:5] == [f"skipped {number}.wav: empty file" for number in range(5)]
    assert lines[5:] == [f"2 more skipped; 7 skipped in all, listed in {tmp_path / 'skipped.csv'}"]
    with (tmp_path / "skipped.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *map(list, SEVEN)]


def test_an_earlier_list_goes_once_nothing_is_skipped(tmp_path: Path) -> None:
    show_skipped(SEVEN, tmp_path / "skipped.csv")
    show_skipped([], tmp_path / "skipped.csv")
    assert not list(tmp_path.iterdir())


def test_in_a_table_and_without_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert first(described(SEVEN)) == "\n".join([*(f"{n}.wav: empty file" for n in range(5)), "and 2 more"])
    assert first(["a\nb: empty file"]).count("\n") == 0, "a name with a line break stays in its line"  # type: ignore[union-attr]
    assert first([]) is None
    show(["a.wav: empty file"], "compared by their bytes alone")
    lines = ["skipped a.wav: empty file", "1 skipped in all, compared by their bytes alone"]
    assert capsys.readouterr().err.splitlines() == lines
    show([], "")
    assert capsys.readouterr().err == ""
