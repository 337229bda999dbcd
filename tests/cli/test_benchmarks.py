"""`aasp benchmarks`: the list, the description of one, and the check of a copy."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main
from aasp.datasets import benchmarks
from aasp.datasets.benchmarks import BENCHMARKS


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole copy of an ESC-10 that has two clips a fold."""
    whole = replace(BENCHMARKS["esc10"], classes=2, counts={str(fold): 2 for fold in range(1, 6)})
    monkeypatch.setitem(benchmarks.BENCHMARKS, "esc10", whole)
    (tmp_path / "audio").mkdir()
    for fold in range(1, 6):
        for target in (0, 1):
            name = f"{fold}-{10 * fold + target}-A-{target}.wav"
            soundfile.write(tmp_path / "audio" / name, np.zeros(800, np.float32), 8_000)
    return tmp_path


def test_every_benchmark_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmarks"]) == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == ["name", *BENCHMARKS, "folder", "index"]
    assert lines["esc50"] == "esc50 50 2,000 accuracy 5 folds"
    assert lines["crema_d"] == "crema_d 6 7,438 accuracy train 5,144, valid 738, test 1,556"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_shown_with_its_downloads(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmarks", name]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    benchmark = BENCHMARKS[name]
    for download in benchmark.downloads:
        assert download.url in shown and " ".join(download.licence.split()) in shown
    for line in benchmark.layout:
        assert " ".join(line.split()) in shown


@pytest.mark.parametrize("name", ["folder", "index"])
def test_user_sets_are_shown_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmarks", name]) == 0
    assert f"--{'benchmark folder' if name == 'folder' else 'index FILE'}" in capsys.readouterr().out


def test_a_whole_copy(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmarks", "check", "esc10", str(copy)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.endswith(" as published") and "differs" not in shown and "not as published" not in shown
    for fact in ("clips 10", "parts 5 folds of 2, 2, 2, 2, 2", "groups 10", "decoded 10 of 10 files"):
        assert fact in shown


def test_a_copy_without_a_clip(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "audio" / "3-30-A-0.wav").unlink()
    assert main(["benchmarks", "check", "esc10", str(copy)]) == 1
    shown = capsys.readouterr().out
    assert "part 3: 1 clips, published 2" in shown and shown.endswith("not as published\n")


def test_a_clip_that_can_not_be_read_is_named_and_listed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, listed = copy / "audio" / "3-30-A-0.wav", copy / "lost.csv"
    bad.write_bytes(b"not a sound")
    assert main(["benchmarks", "check", "esc10", str(copy), "--missing", str(listed)]) == 1
    assert f"{bad}: not audio" in capsys.readouterr().out
    with listed.open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)] == ["path", str(bad)]
    assert main(["benchmarks", "check", "esc10", str(copy), "--missing", str(listed)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_sample_is_decoded_unless_all_are_requested(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aasp.cli.benchmarks._SAMPLE", 3)
    assert main(["benchmarks", "check", "esc10", str(copy)]) == 0
    assert "3 of 10 files" in capsys.readouterr().out
    assert main(["benchmarks", "check", "esc10", str(copy), "--decode"]) == 0
    assert "10 of 10 files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["check", "esc10"], "give nothing, NAME, or check NAME ROOT"),
        (["esc50", "esc10"], "give nothing, NAME, or check NAME ROOT"),
        (["esc51"], "did you mean 'esc50'?"),
        (["check", "esc51", "."], "did you mean 'esc50'?"),
        (["esc50", "--decode"], "belong to a check"),
        (["check", "esc50", "no/such/folder"], "no such folder"),
    ],
)
def test_mistakes_are_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmarks", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and complaint in captured.err


def test_the_real_copy(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmarks", "check", "esc10", str(data_root / "esc10")]) == 0
    assert "5 folds of 80, 80, 80, 80, 80" in capsys.readouterr().out
    assert main(["benchmarks", "check", "nsynth_family", str(data_root / "nsynth_like")]) == 1


def test_the_documents_table_is_the_list() -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 6]
    for row, benchmark in zip(rows, BENCHMARKS.values(), strict=True):
        name, classes, clips, metric, seconds = (cell.strip(" `") for cell in row.strip("|").split("|"))
        counts = [f"{part} {count:,}" for part, count in benchmark.counts.items()]
        assert (name, classes, metric) == (benchmark.name, f"{benchmark.classes:,}", benchmark.metric)
        assert clips in (f"{len(counts)} folds", ", ".join(counts)) and float(seconds) == benchmark.clip_seconds
