"""`aasp scan`: the manifest, the summary, the list of what was left out, and its refusals."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.cli.main import main
from aasp.datasets.manifest import Manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.full((4_000, 2), 0.1), 8_000)
    soundfile.write(folder / "b.flac", np.full(22_050, 0.1), 44_100)
    soundfile.write(folder / "c.flac", np.full(11_025, 0.1), 44_100)
    (folder / "empty.wav").touch()
    return folder


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", ["m.parquet", "m.csv"])
def test_a_folder(folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / name
    assert main(["scan", str(folder), "--out", str(out), "--workers", "2"]) == 0
    manifest, skipped = Manifest.open(out)
    assert skipped == []
    assert [Path(path).name for path in manifest.paths] == ["a.wav", "b.flac", "c.flac"]
    assert rows(out.with_name("m.skipped.csv")) == [["path", "reason"], [str(folder / "empty.wav"), "empty file"]]
    captured = capsys.readouterr()
    shown = " ".join(captured.out.split())
    for fact in ("files 3", "1.25 s, 0.25 s to 0.5 s a file", "44,100 Hz × 2, 8,000 Hz × 1", "1 × 2, 2 × 1"):
        assert fact in shown
    assert "skipped 1" in shown and "empty file" in shown
    assert captured.err == ""


def test_the_default_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scan", "set"]) == 0
    assert (tmp_path / "manifest.parquet").exists() and (tmp_path / "manifest.skipped.csv").exists()


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["scan", *map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("aasp: error: ")
    return captured.err


def test_nothing_is_overwritten_without_the_option(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.csv"
    for existing in (out, tmp_path / "m.skipped.csv"):
        existing.write_text("precious")
        assert "--overwrite" in refused(capsys, folder, "--out", out)
        assert existing.read_text() == "precious"
        existing.unlink()
    out.write_text("old")
    assert main(["scan", str(folder), "--out", str(out), "--overwrite"]) == 0
    assert len(rows(out)) == 4


def test_a_second_set_beside_the_first_has_its_own_list(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    soundfile.write(other / "d.wav", np.full(8_000, 0.1), 16_000)
    (other / "text.wav").write_text("no sound")
    assert main(["scan", str(folder), "--out", str(tmp_path / "m.parquet")]) == 0
    assert main(["scan", str(other), "--out", str(tmp_path / "n.parquet")]) == 0
    lists = {
        name: [Path(path).name for path, _ in rows(tmp_path / name)[1:]] for name in ("m.skipped.csv", "n.skipped.csv")
    }
    assert lists == {"m.skipped.csv": ["empty.wav"], "n.skipped.csv": ["text.wav"]}


def test_no_such_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in refused(capsys, tmp_path / "nothing", "--out", tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists() and not (tmp_path / "m.skipped.csv").exists()


def test_a_folder_without_audio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no audio in folder" in refused(capsys, tmp_path, "--out", tmp_path / "m.csv")


def test_an_index_without_a_path_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "i.csv").write_text("file,label\na.wav,x\n")
    assert "no column path" in refused(capsys, tmp_path / "i.csv", "--out", tmp_path / "m.csv")


def test_the_column_of_paths_can_be_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "i.csv").write_text("file;label\nset/a.wav;x\nset/b.flac;y\nset/a.wav;z\n", encoding="utf-16")
    assert "--path-column file" in refused(capsys, tmp_path / "i.csv", "--out", tmp_path / "m.csv")
    assert main(["scan", str(tmp_path / "i.csv"), "--out", str(tmp_path / "m.csv"), "--path-column", "file"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "files 3" in shown and "rows that repeat a file: 1, the first row 3" in shown


def test_hidden_files_are_counted(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "__MACOSX").mkdir()
    (folder / "._a.wav").touch()
    assert main(["scan", str(folder), "--out", str(tmp_path / "m.csv")]) == 0
    assert "hidden or system files, left out: 1 file and 1 folder" in " ".join(capsys.readouterr().out.split())
    assert len(rows(tmp_path / "m.skipped.csv")) == 2


def test_all_bad_files_are_listed_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.wav").touch()
    (folder / "b.ogg").write_text("not a sound")
    assert "all 2 skipped" in refused(capsys, folder, "--out", tmp_path / "m.csv")
    assert [Path(path).name for path, _ in rows(tmp_path / "m.skipped.csv")[1:]] == ["a.wav", "b.ogg"]
    assert not (tmp_path / "m.csv").exists()


@pytest.mark.parametrize("name", ["m.txt", "m"])
def test_no_name_for_a_manifest(folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "end it in .parquet or .csv" in refused(capsys, folder, "--out", tmp_path / name)
