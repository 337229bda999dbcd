"""What a later call changes and what it must not: labels, deleted files, lists of what was left out, indexes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from fsspec.implementations.memory import MemoryFileSystem

from aasp.audio import remote, remote_cache
from aasp.index import Index, adding, building
from aasp.index.listing import listing, whole

Run = Callable[..., str]
Write = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    monkeypatch.setenv("AASP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "_written", {})
    remote.facts.cache_clear()
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


def test_an_index_that_was_made_meanwhile_is_not_replaced(
    model: Path, sounds: Path, tmp_path: Path, run: Run, noise: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more").mkdir()
    noise(tmp_path / "more/x.wav", 9)
    out, listed = tmp_path / "i", building.listing

    def slow(*arguments):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(building, "listing", listed)
        run("index", model, sounds, "--out", out)
        return listed(*arguments)

    monkeypatch.setattr(building, "listing", slow)
    message = run("index", model, tmp_path / "more", "--out", out, code=2)
    assert "made by another process meanwhile; give the same command again to add to it" in message
    assert len(Index.open(out)) == 4
    assert "1 file(s) added" in run("index", tmp_path / "more", "--out", out)
    assert len(Index.open(out)) == 5


def test_sounds_in_an_object_store_are_indexed_beside_local_ones(
    store: MemoryFileSystem, model: Path, sounds: Path, tmp_path: Path, run: Run, noise: Write
) -> None:
    noise(tmp_path / "x.wav", 9)
    store.pipe("/bucket/x.wav", (tmp_path / "x.wav").read_bytes())
    for number, sources in enumerate((["memory://bucket"], [sounds, "memory://bucket"])):
        out = tmp_path / f"i{number}"
        assert f"{1 + 4 * number} file(s) added" in run("index", model, *sources, "--out", out)
        index = Index.open(out)
        assert index.sound(len(index) - 1).path == "memory://bucket/x.wav"
        assert "0 file(s) added" in run("index", *sources, "--out", out)
    assert whole("memory://bucket/x.wav", "/root") == "memory://bucket/x.wav" and whole("x.wav", "/r") == "/r/x.wav"


@pytest.mark.parametrize("stated", [0.8, 9.0])
def test_a_length_stated_by_a_manifest_is_not_trusted(
    stated: float, model: Path, tmp_path: Path, run: Run, noise: Write
) -> None:
    noise(tmp_path / "x.wav", 5, seconds=2.1)
    (tmp_path / "list.csv").write_text(f"path,seconds\nx.wav,{stated}\n")
    run("index", model, tmp_path / "list.csv", "--out", tmp_path / "i", "--window", "1", "--hop", "0.5")
    rows = Index.open(tmp_path / "i").rows
    assert rows["start"].to_pylist() == [0.0, 0.5, 1.0, 1.5]
    np.testing.assert_allclose(rows["seconds"], [1, 1, 1, 0.6])


def test_labels_stay_until_the_source_that_gave_them_has_them_no_longer(
    model: Path, sounds: Path, tmp_path: Path, run: Run
) -> None:
    manifest, out = sounds / "list.csv", tmp_path / "i"
    manifest.write_text("path,label\na.wav,dog\nb.flac,cat\n")
    run("index", model, manifest, "--out", out)
    run("index", sounds, "--out", out)
    labels = lambda: dict(
        zip(*(Index.open(out).rows[name].to_pylist() for name in ("path", "label")), strict=True)  # type: ignore[arg-type]
    )
    assert labels() == {"a.wav": "dog", "b.flac": "cat", "d.wav": None, "deep/c.ogg": None}
    other = sounds / "other.csv"
    other.write_text("path,label\nb.flac,7\nd.wav,bird\n")
    run("index", other, "--out", out)
    assert labels() == {"a.wav": "dog", "b.flac": "7", "d.wav": "bird", "deep/c.ogg": None}
    manifest.write_text("path\na.wav\nb.flac\n")
    run("index", manifest, "--out", out)
    assert labels() == {"a.wav": None, "b.flac": None, "d.wav": "bird", "deep/c.ogg": None}


def test_a_deleted_file_is_dropped_with_any_folder_that_held_it(
    model: Path, sounds: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "i"
    run("index", model, sounds / "deep", "--out", out)
    run("index", sounds, "--out", out)
    (sounds / "deep/c.ogg").unlink()
    assert "1 dropped" in run("index", sounds, "--out", out)
    assert len(Index.open(out)) == 3


def test_what_was_left_out_before_an_interruption_stays_listed(
    model: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(3):
        wave = 0.1 * np.random.default_rng(number).standard_normal(48_000).astype(np.float32)
        wave[20_000:21_000] = np.nan
        soundfile.write(folder / f"{number}.wav", wave, 16_000, subtype="FLOAT")
    monkeypatch.setattr(adding, "CHUNK", 1)
    monkeypatch.setattr(adding, "FILES", 1)
    add, calls = adding.Adding._add, 0

    def interrupted(*arguments):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return add(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(adding.Adding, "_add", interrupted)
        run("index", model, folder, "--out", tmp_path / "i", "--window", "1", code=130)
    shutil.copytree(tmp_path / "i", tmp_path / "copy")
    for out in ("i", "copy"):
        run("index", folder, "--out", tmp_path / out)
        lines = (tmp_path / out / "skipped.csv").read_text().splitlines()[1:]
        assert sorted(Path(line.partition(",")[0]).name for line in lines) == [f"{n}.wav at 1 s" for n in range(3)]


def test_rows_of_a_file_are_added_together() -> None:
    rows = pa.table({"path": ["a"] * 3 + ["b"] * 5_000 + ["c"] * 5_000 + ["d"]})
    parts = [sorted(set(part["path"].to_pylist())) for part in adding._split(rows)]
    assert parts == [["a", "b"], ["c"], ["d"]]
    assert [part.num_rows for part in adding._split(rows.slice(0, 0))] == [0]


def test_a_file_named_twice_keeps_the_labels_of_all_its_rows(
    model: Path, sounds: Path, tmp_path: Path, run: Run
) -> None:
    one, two = (path.relative_to(tmp_path) for path in sorted(sounds.glob("*.wav"))[:2])
    lines = [f"{one},,north,train", f"{one.parent}/../{one},wind,,train", f"{two},rain,,", f"{two},hail,west,test"]
    (tmp_path / "set.csv").write_text("\n".join(["path,label,site,split", *lines]))
    run("index", model, sounds, tmp_path / "set.csv", "--out", tmp_path / "i")
    rows = {Path(row["path"]).name: row for row in Index.open(tmp_path / "i").rows.to_pylist()}
    assert len(rows) == 4
    labels = [tuple(rows[path.name][name] for name in ("label", "site", "split")) for path in (one, two)]
    assert labels == [("wind", "north", "train"), ("rain", "west", "test")]
    notes: list[str] = []
    listing([str(tmp_path / "set.csv")], str(tmp_path), None, [], notes)
    assert notes == [
        "named more than once, and indexed once: 2 file(s)",
        f"label has several values for 1 file(s), such as rain and hail for {two}: the first is kept",
    ]


def test_a_file_in_two_parts_is_refused(model: Path, sounds: Path, tmp_path: Path, run: Run) -> None:
    one = sorted(sounds.glob("*.wav"))[0].relative_to(tmp_path)
    (tmp_path / "set.csv").write_text(f"path,split\n{one},train\n{one},test\n")
    said = run("index", model, tmp_path / "set.csv", "--out", tmp_path / "i", code=2)
    assert f"set.csv: {one} is in two parts, split train and test; leave one of its rows out" in said
    assert not (tmp_path / "i").exists()
