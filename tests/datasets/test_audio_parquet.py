"""Parquet files as Hugging Face `datasets` keeps sounds in them, written here without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aasp.audio import parquet_rows
from aasp.audio.io import AudioError, read
from aasp.datasets.manifest import Manifest, NothingUsable, scan
from aasp.errors import AaspError
from packed import RATE, flac, parquet, wave_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parquet(tmp_path / "train-00000-of-00002.parquet", list(range(10)), tags=[["x", "y"]] * 10)
    parquet(tmp_path / "train-00001-of-00002.parquet", [10, None, 12], tags=[["z"]] * 3)
    return tmp_path


def test_a_folder_of_parquet_files(folder: Path) -> None:
    for source in (folder, folder / "train-*.parquet"):
        manifest, skipped = Manifest.open(source)
        kept = [*range(11), 12]
        assert [path.rpartition("#")[2] for path in manifest.paths] == [
            *(f"{n}/{n}.flac" for n in range(10)), "0/10.flac", "2/12.flac",
        ]  # fmt: skip
        assert [(Path(one.path).name, one.reason) for one in skipped] == [("None.flac", "its row has no bytes")]
        assert manifest.column("label").tolist() == [("cat", "dog")[n % 2] for n in kept]
        assert manifest.column("text").tolist() == [f"t{n}" for n in kept]
        assert manifest.column("tags").tolist() == ["x;y"] * 10 + ["z"] * 2
        np.testing.assert_array_equal(manifest.seconds, 0.25)
        for row in np.random.default_rng(0).permutation(12):
            np.testing.assert_array_equal(np.round(read(manifest.paths[row], rate=RATE) * 32768), wave_of(kept[row]))


def test_a_scan_of_it_is_a_manifest_that_is_trusted(folder: Path, tmp_path: Path) -> None:
    manifest, _ = scan(folder)
    manifest.write_parquet(tmp_path / "m" / "m.parquet")
    again, skipped = Manifest.open(tmp_path / "m" / "m.parquet")
    assert skipped == [] and again.table.equals(manifest.table)


def test_memory_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = Manifest.open(folder)
    held = parquet_rows._Held()
    monkeypatch.setattr(parquet_rows, "_held", held)
    monkeypatch.setattr(parquet_rows, "HELD_BYTES", 3 * len(flac(1)))
    groups = []
    read_group = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, n, **options: groups.append(n) or read_group(self, n, **options)
    )
    for path in [*manifest.paths[:8], manifest.paths[0]]:
        read(path, rate=RATE)
        assert len(held._groups) == 1
    assert groups == [0, 1, 0], "in order a group costs once"
    monkeypatch.setattr(parquet_rows, "MAX_GROUP_BYTES", 100)
    with pytest.raises(AudioError, match=r"row group 2 declares [\d,]+ bytes of sound, of 100 at most; write the file"):
        read(manifest.paths[9])


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    first = folder / "train-00000-of-00002.parquet"
    with pytest.raises(AudioError, match="no such row: its file has 10; list the set again"):
        read(f"{first}#10/x.flac")
    with pytest.raises(AudioError, match="no such file as its Parquet file"):
        read(f"{folder}/none.parquet#1/x.flac")
    (tmp_path / "torn.parquet").write_bytes(first.read_bytes()[:-9])
    with pytest.raises(AudioError, match=r"its Parquet file is unreadable"):
        read(f"{tmp_path}/torn.parquet#1/x.flac")
    (tmp_path / "bad").mkdir()
    parquet(tmp_path / "bad" / "a.parquet", [1], label2=[1])
    table = pq.read_table(tmp_path / "bad" / "a.parquet")
    wrong = table.set_column(table.column_names.index("label"), "label", pa.array([7], pa.int64()))
    pq.write_table(wrong, tmp_path / "bad" / "a.parquet")
    with pytest.raises(AaspError, match="column label: class 7, but its schema has 2; correct the file"):
        Manifest.open(tmp_path / "bad")
    with pytest.raises(NothingUsable, match="its row has no bytes"):
        Manifest.open(parquet(tmp_path / "bad" / "a.parquet", [None, None]))


def test_a_manifest_stays_a_manifest(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "1.flac").write_bytes(flac(1))
    pq.write_table(pa.table({"path": ["1.flac"]}), tmp_path / "s" / "m.parquet")
    assert [Path(p).name for p in Manifest.open(tmp_path / "s" / "m.parquet")[0].paths] == ["1.flac"]
    assert [Path(p).name for p in Manifest.open(tmp_path / "s")[0].paths] == ["1.flac"]


def test_names_of_columns_that_are_no_text(folder: Path, tmp_path: Path) -> None:
    """pyarrow raises UnicodeDecodeError for them, when the file is opened."""
    one = folder / "train-00000-of-00002.parquet"
    address = f"{Manifest.open(one)[0].paths[0]}"
    one.write_bytes(one.read_bytes().replace(b"label", b"\xffabel"))
    with pytest.raises(AaspError, match=rf"^not a readable .*{one}; 'utf-8' codec .*; write it (anew|again)$"):
        Manifest.open(one)
    assert len(Manifest.open(folder)[0]) == 2
    with pytest.raises(AudioError, match=r"its Parquet file is unreadable .*; fetch it again"):
        read(address, rate=RATE)
