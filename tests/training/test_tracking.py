"""The metrics file survives torn lines and is cut back to a checkpoint's step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aasp.training.tracking import Tracker, cut_back, read_metrics


def write(path: Path, steps: list[int], tail: str = "") -> None:
    path.write_text("".join(json.dumps({"step": step, "loss": step / 2}) + "\n" for step in steps) + tail)


@pytest.mark.parametrize("tail", ["", '{"step": 40, "lo', '{"step": 40}', "\0\0\0\0", "[1]\n", '{"loss": 1}\n'])
def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [10, 20, 30], tail)
    assert [line["step"] for line in read_metrics(tmp_path)] == [10, 20, 30]
    cut_back(path, 35)
    write(tmp_path / "expected", [10, 20, 30])
    assert path.read_text() == (tmp_path / "expected").read_text()


@pytest.mark.parametrize(("step", "kept"), [(0, []), (9, []), (10, [10]), (25, [10, 20]), (99, [10, 20, 30])])
def test_lines_after_the_checkpoint_are_cut_off(tmp_path: Path, step: int, kept: list[int]) -> None:
    write(tmp_path / "metrics.jsonl", [10, 20, 30])
    cut_back(tmp_path / "metrics.jsonl", step)
    assert [line["step"] for line in read_metrics(tmp_path)] == kept


def test_a_run_without_metrics_reads_as_empty(tmp_path: Path) -> None:
    cut_back(tmp_path / "metrics.jsonl", 3)
    assert read_metrics(tmp_path) == []


def test_each_step_is_on_disk_when_logged_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with Tracker(tmp_path, 0) as tracker:
        tracker.log(1, {"loss": 0.1, "rank": float("nan")})
        assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.1, "rank": None}]
