"""Sets of files from folders and indices, and the list of skipped files."""

from __future__ import annotations

import csv
import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile

from aasp.audio.io import EXTENSIONS
from aasp.datasets import measured
from aasp.datasets.index import _SOUND
from aasp.datasets.manifest import Manifest, NothingUsable, Skipped, scan, write_skipped
from aasp.errors import AaspError


def sound(path: Path, seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((round(seconds * rate), channels), 0.1), rate)
    return path


def index(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good files, some out of order, and bad ones."""
    folder = tmp_path / "set"
    sound(folder / "b" / "2.flac", 0.25, 44_100, 2)
    sound(folder / "b" / "10.wav", 1.0, 8_000)
    sound(folder / "a.WAV", 0.5)
    sound(folder / "short.wav", 0.01)
    (folder / "empty.mp3").touch()
    (folder / "letter.ogg").write_text("not a sound " * 50)
    (folder / "song.mpc").write_bytes(b"anything")
    (folder / "notes.txt").write_text("no sound, and not meant to be one")
    return folder


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise AssertionError(f"opened {path}")

    monkeypatch.setattr(measured, "probe", refuse)


def test_a_folder(folder: Path) -> None:
    manifest, skipped = Manifest.open(folder)
    assert manifest.paths == [str(folder / name) for name in ("a.WAV", "b/10.wav", "b/2.flac")]
    np.testing.assert_array_equal(manifest.seconds, [0.5, 1.0, 0.25])
    assert manifest.column("rate").tolist() == [16_000, 8_000, 44_100]
    assert manifest.column("channels").tolist() == [1, 1, 2]
    assert len(manifest) == 3
    assert manifest.total_hours == pytest.approx(1.75 / 3600)
    reasons = {Path(file.path).name: file.reason for file in skipped}
    assert set(reasons) == {"short.wav", "empty.mp3", "letter.ogg", "song.mpc"}
    assert reasons["empty.mp3"] == "empty file"
    assert "not audio" in reasons["letter.ogg"]
    assert "too short: 10 ms" in reasons["short.wav"]
    assert "not supported (.mpc)" in reasons["song.mpc"]


def test_hidden_files_and_those_of_the_system_are_counted_in_one_line(folder: Path) -> None:
    left = [".Trash-1000", ".Trashes", "#recycle", "@eaDir", ".snapshot", "$RECYCLE.BIN", "System Volume Information"]
    left += ["lost+found", "__MACOSX", ".git", "b/@eaDir", "#snapshot"]
    for name in left:
        sound(folder / name / "deep" / "x.wav")
    for name in ("._a.WAV", "b/.hidden.wav", "b/.song.mpc", ".DS_Store"):
        (folder / name).write_bytes(b"anything")
    before = {Path(file.path).name for file in scan(folder)[1]}
    for way in (Manifest.open, scan):
        manifest, skipped = way(folder)
        assert [Path(path).name for path in manifest.paths] == ["a.WAV", "10.wav", "2.flac"]
        assert {Path(file.path).name for file in skipped} == before
        (note,) = manifest.notes
        assert note.startswith("hidden or system files, left out: 3 files and 12 folders, the first ")
    hidden = folder / ".git"
    assert Manifest.open(hidden)[0].paths == [str(hidden / "deep" / "x.wav")], "a hidden folder that is named"


def test_a_folder_of_only_hidden_files(tmp_path: Path) -> None:
    sound(tmp_path / "._a.wav")
    assert "hidden or system files, left out: 1 file" in refused(tmp_path)


def test_every_known_format_is_read_or_listed(tmp_path: Path) -> None:
    for extension in _SOUND:
        (tmp_path / f"x{extension.upper()}").write_bytes(b"anything")
    (tmp_path / "good").mkdir()
    sound(tmp_path / "good" / "good.wav")
    manifest, skipped = Manifest.open(tmp_path)
    assert len(manifest) == 1 and {Path(file.path).suffix.lower() for file in skipped} == _SOUND >= EXTENSIONS
    unread = {Path(file.path).suffix.lower() for file in skipped if file.reason.startswith("format not supported")}
    assert unread == _SOUND - EXTENSIONS


def test_a_named_pipe_is_skipped(folder: Path) -> None:
    os.mkfifo(folder / "pipe.wav")
    assert Skipped(str(folder / "pipe.wav"), "is not a file") in scan(folder)[1]


def test_rows_that_repeat_a_file_are_noted(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "x/c.wav"):
        sound(tmp_path / name)
    rows = ["path,n", "a.wav,1", "b.wav,2", "x/../b.wav,3", f"{tmp_path}/a.wav,4", ",5", ",6"]
    manifest, skipped = Manifest.open(index(tmp_path / "i.csv", *rows))
    assert manifest.notes == (f"rows that repeat a file: 2, the first row 3, {tmp_path}/b.wav",) and len(manifest) == 4
    assert skipped == [Skipped("", "its row has no path")] * 2
    assert Manifest.open(index(tmp_path / "j.csv", "path", "a.wav", "b.wav"))[0].notes == ()


def test_the_column_of_paths_can_be_named(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    for way in (Manifest.open, scan):
        manifest, _ = way(index(tmp_path / "i.csv", "file;label", "a.wav;x"), path_column="file")
        assert manifest.paths == [str(tmp_path / "a.wav")] and manifest.column("label").tolist() == ["x"]
        with pytest.raises(AaspError, match="--path-column file with a folder"):
            way(tmp_path, path_column="file")


def test_the_number_of_threads_changes_nothing(folder: Path) -> None:
    for n in range(200):
        sound(folder / "many" / f"{n}.wav", 0.03 + n / 1000)
    one, many = scan(folder, workers=1), scan(folder, workers=7)
    assert one[0].table.equals(many[0].table)
    assert one[1] == many[1]


def test_linked_folders_are_followed_and_loops_end(folder: Path) -> None:
    sound(folder.parent / "elsewhere" / "linked.wav")
    (folder / "link").symlink_to(folder.parent / "elsewhere")
    (folder / "b" / "loop").symlink_to(folder)
    names = [Path(path).name for path in Manifest.open(folder)[0].paths]
    assert sorted(names) == ["10.wav", "2.flac", "a.WAV", "linked.wav"]


def test_a_csv_keeps_its_columns_and_order(tmp_path: Path) -> None:
    sound(tmp_path / "x" / "b.wav", 0.5)
    elsewhere = sound(tmp_path / "elsewhere" / "a.wav", 1.0)
    rows = ["label,path,fold,code", f"dog,{elsewhere},1,007", '"cat, black",x/b.wav,2,010']
    manifest, skipped = Manifest.open(index(tmp_path / "index.csv", *rows))
    assert skipped == []
    assert manifest.paths == [str(elsewhere), str(tmp_path / "x" / "b.wav")]
    assert manifest.column("label").tolist() == ["dog", "cat, black"]
    assert manifest.column("fold").tolist() == [1, 2]
    assert manifest.column("code").tolist() == ["007", "010"]  # as integers they would no longer be the codes
    np.testing.assert_array_equal(manifest.seconds, [1.0, 0.5])


def test_seconds_of_an_index_are_trusted_but_files_must_be_there(tmp_path: Path, no_probe: None) -> None:
    (tmp_path / "here.wav").write_bytes(b"anything")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    rows = ["path,seconds", "here.wav,2.5", "gone.wav,2.5", "empty.wav,2.5", "folder.wav,2.5", "here.wav,0.001"]
    manifest, skipped = Manifest.open(index(tmp_path / "index.csv", *rows))
    assert manifest.paths == [str(tmp_path / "here.wav")]
    np.testing.assert_array_equal(manifest.seconds, [2.5])
    names = ("gone.wav", "empty.wav", "folder.wav", "here.wav")
    assert [file.path for file in skipped] == [str(tmp_path / name) for name in names]
    assert [file.reason for file in skipped[:3]] == ["no such file", "empty file", "is not a file"]
    assert "too short: 1 ms" in skipped[3].reason


def test_rows_without_seconds_are_probed(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", 0.5)
    manifest, _ = Manifest.open(index(tmp_path / "i.csv", "path,seconds", "a.wav,", "a.wav,0", "a.wav,nan", "a.wav,9"))
    np.testing.assert_array_equal(manifest.seconds, [0.5, 0.5, 0.5, 9.0])
    assert manifest.table["rate"].to_pylist() == [16_000, 16_000, 16_000, None]


def test_scan_trusts_nothing(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", 0.5)
    manifest, _ = scan(index(tmp_path / "i.csv", "path,seconds,rate,label", "a.wav,9,8000,dog"))
    assert manifest.table.to_pylist() == [
        {"path": str(tmp_path / "a.wav"), "seconds": 0.5, "rate": 16_000, "channels": 1, "label": "dog"}
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_written_and_opened_again_without_probing(
    folder: Path, suffix: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    manifest, _ = Manifest.open(folder)
    path = tmp_path / f"manifest{suffix}"
    (manifest.write_parquet if suffix == ".parquet" else manifest.write_csv)(path)
    request.getfixturevalue("no_probe")
    again, skipped = Manifest.open(path)
    assert skipped == []
    assert again.table.equals(manifest.table)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [path.name]


def test_a_parquet_index_with_labels(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    table = pa.table({"label": pa.array(["x"]).dictionary_encode(), "path": ["a.wav"]})
    pa.parquet.write_table(table, tmp_path / "i.parquet")
    manifest, _ = Manifest.open(tmp_path / "i.parquet")
    assert manifest.paths == [str(tmp_path / "a.wav")]
    assert manifest.column("label").tolist() == ["x"]


def test_skipped_files_are_written(tmp_path: Path) -> None:
    skipped = [Skipped("a, b.wav", "empty file"), Skipped("c\udcff.wav", "its name is not valid UTF-8; rename it")]
    write_skipped(skipped, tmp_path / "skipped.csv")
    with open(tmp_path / "skipped.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *map(list, skipped)]


def test_a_name_that_is_not_utf8_is_listed(tmp_path: Path) -> None:
    sound(tmp_path / "good.wav")
    try:
        sound(tmp_path / "good.wav").rename(tmp_path / "bad\udcff.wav")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    sound(tmp_path / "good.wav")
    manifest, skipped = Manifest.open(tmp_path)
    assert manifest.paths == [str(tmp_path / "good.wav")]
    assert [file.reason for file in skipped] == ["its name is not valid UTF-8; rename it"]


def test_progress_counts_every_file(folder: Path) -> None:
    counts: list[tuple[int, int]] = []
    scan(folder, progress=lambda done, total: counts.append((done, total)))
    assert counts[-1] == (6, 6)


def test_an_interrupted_scan_leaves_the_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(500):
        (folder / f"{n}.wav").touch()
    probed = 0
    lock = threading.Lock()

    def interrupt(path: str) -> None:
        nonlocal probed
        with lock:
            probed += 1
        raise KeyboardInterrupt

    monkeypatch.setattr(measured, "probe", interrupt)
    with pytest.raises(KeyboardInterrupt):
        scan(folder, workers=1)
    assert probed < 100


def refused(path: Path) -> str:
    with pytest.raises(AaspError) as caught:
        Manifest.open(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_a_path_that_is_no_set(tmp_path: Path) -> None:
    assert "no such folder or index" in refused(tmp_path / "nothing")
    assert "no such index" in refused(tmp_path / "nothing.csv")
    assert "a single sound file" in refused(sound(tmp_path / "a.wav"))
    assert "not a readable .parquet" in refused(index(tmp_path / "a.parquet", "path", "a.wav"))
    assert "not a readable .csv" in refused(index(tmp_path / "ragged.csv", "path,label", "a.wav", "b.wav,x,y"))
    assert "index without rows" in refused(index(tmp_path / "bare.csv", "path,label"))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()
    assert "no audio in folder" in refused(tmp_path / "letters")


def test_an_index_without_paths_names_its_columns(tmp_path: Path) -> None:
    assert "no column path; it has file, label" in refused(index(tmp_path / "i.csv", "file,label", "a.wav,x"))


def test_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "i.csv").touch()
    assert "i.csv" in refused(tmp_path / "i.csv")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    assert "two columns with the same name" in refused(index(tmp_path / "i.csv", "path,label,label", "a.wav,x,y"))


def test_seconds_that_are_no_numbers(tmp_path: Path) -> None:
    assert "column seconds" in refused(index(tmp_path / "i.csv", "path,seconds", "a.wav,long"))


def test_nothing_usable_lists_everything(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.mpc").touch()
    assert "all 2 skipped" in refused(tmp_path)
    with pytest.raises(NothingUsable) as caught:
        Manifest.open(tmp_path)
    assert {Path(file.path).name for file in caught.value.skipped} == {"a.wav", "b.mpc"}


def test_a_missing_label_column_names_the_columns(folder: Path) -> None:
    manifest, _ = Manifest.open(folder)
    with pytest.raises(AaspError, match="no column 'label'; it has path, seconds, rate, channels"):
        manifest.column("label")


@pytest.mark.slow
def test_the_sets_at_hand(data_root: Path) -> None:
    manifest, skipped = Manifest.open(data_root / "pool" / "index.csv")
    assert (len(manifest), skipped) == (1597, [])
    assert manifest.total_hours == pytest.approx(3.51, abs=0.01)
    scanned, skipped = scan(data_root / "pool" / "index.csv")
    assert skipped == []
    np.testing.assert_allclose(manifest.seconds, scanned.seconds, atol=1e-3)


def test_a_scan_looks_at_every_channel(tmp_path: Path) -> None:
    frames = np.zeros((8_000, 2), np.float32)
    frames[4_000, 1] = np.nan
    soundfile.write(tmp_path / "a.wav", frames, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", frames[:, :1], 16_000, subtype="FLOAT")
    manifest, skipped = scan(tmp_path)
    assert [Path(path).name for path in manifest.paths] == ["b.wav"]
    assert [one.reason for one in skipped] == ["NaN or infinite samples"]
