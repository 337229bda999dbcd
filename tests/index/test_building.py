"""An index holds the model's vectors of the files that exist: after additions, changes, losses, kills and mistakes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from aasp import files
from aasp.audio.io import read
from aasp.evaluate import stream
from aasp.index import Index, adding, layout
from aasp.index.changes import windows
from aasp.model.audio_encoder import AudioEncoder, load

Run = Callable[..., str]
Write = Callable[..., None]


def expected(encoder: AudioEncoder, wave: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        clip = encoder(torch.from_numpy(wave)[None]).clip[0].numpy()
    return clip / np.linalg.norm(clip)


def check(index: Index, model: Path) -> None:
    """Every row is the model's vector of the file that it names, and every file has a row."""
    encoder = load(model)
    assert len(index) == index.rows.num_rows == len(index.vectors)
    assert not list(index.folder.glob("adding-*")) and not list(index.folder.glob(".*"))
    for row, stated in enumerate(index.rows.to_pylist()):
        path, start, seconds = index.sound(row)
        whole = read(path)
        assert (start, seconds) == (0.0, pytest.approx(len(whole) / 16_000))
        assert stated["hash"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
        np.testing.assert_allclose(index.vectors[row], expected(encoder, whole), atol=1e-3)
    there = sorted(str(file) for file in Path(index.root).rglob("*.*"))
    assert sorted(index.sound(row).path for row in range(len(index))) == there


def test_rows_equal_the_models_vectors(index: Index, model: Path) -> None:
    check(index, model)
    assert index.vectors.dtype == np.float16 and isinstance(index.vectors, np.memmap)
    assert index.model == (index.model.__class__)(str(model), load(model).digest)
    assert index.rows["path"].to_pylist() == ["a.wav", "b.flac", "d.wav", "deep/c.ogg"]
    assert np.load(index.folder / "vectors-000001.npy").shape == index.vectors.shape


def test_a_second_call_embeds_only_new_or_changed_files(
    index: Index, model: Path, sounds: Path, run: Run, noise: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    vectors = stream.vectors

    def counted(encoder, some, *rest):  # type: ignore[no-untyped-def]
        embedded.extend(Path(sound).name for sound in some)
        return vectors(encoder, some, *rest)

    monkeypatch.setattr(stream, "vectors", counted)
    noise(sounds / "e.wav", 10)
    noise(sounds / "a.wav", 11)
    (sounds / "b.flac").unlink()
    os.utime(sounds / "d.wav", ns=(1, 1))
    output = run("index", sounds, "--out", index.folder)
    assert sorted(embedded) == ["a.wav", "e.wav"]
    assert "2 file(s) added (1 of them changed), 1 dropped" in output
    check(Index.open(index.folder), model)
    embedded.clear()
    assert "0 file(s) added" in run("index", sounds, "--out", index.folder)
    assert embedded == []
    assert index.vectors.shape == (4, 24) and index.sound(1).path == str(sounds / "b.flac")  # as it was when opened


def test_files_go_with_the_folder_they_came_from(
    index: Index, sounds: Path, tmp_path: Path, run: Run, noise: Write
) -> None:
    (tmp_path / "more").mkdir()
    noise(tmp_path / "more/x.wav", 20)
    run("index", tmp_path / "more", "--out", index.folder)
    (sounds / "a.wav").unlink()
    noise(tmp_path / "more/y.wav", 21)
    run("index", tmp_path / "more", "--out", index.folder)
    both = Index.open(index.folder)
    assert both.rows["path"].to_pylist()[-2:] == [str(tmp_path / "more/x.wav"), str(tmp_path / "more/y.wav")]
    assert "a.wav" in both.rows["path"].to_pylist()
    run("index", sounds, "--out", index.folder)
    assert "a.wav" not in Index.open(index.folder).rows["path"].to_pylist()


def test_a_manifests_columns_are_labels_and_follow_it(model: Path, sounds: Path, tmp_path: Path, run: Run) -> None:
    manifest = sounds / "list.csv"
    manifest.write_text("path,label,fold\na.wav,dog,1\nb.flac,cat,2\n")
    run("index", model, manifest, "--out", tmp_path / "i")
    assert Index.open(tmp_path / "i").rows.select(["path", "label", "fold"]).to_pydict() == {
        "path": ["a.wav", "b.flac"],
        "label": ["dog", "cat"],
        "fold": [1, 2],
    }
    manifest.write_text("path,label\nd.wav,bird\nb.flac,lion\n")
    assert "1 file(s) added, 1 dropped" in run("index", manifest, "--out", tmp_path / "i")
    rows = Index.open(tmp_path / "i").rows
    assert dict(zip(rows["path"].to_pylist(), rows["label"].to_pylist(), strict=True)) == {
        "b.flac": "lion",
        "d.wav": "bird",
    }


def test_moments_of_a_recording(model: Path, tmp_path: Path, run: Run, noise: Write) -> None:
    (tmp_path / "long").mkdir()
    noise(tmp_path / "long/x.wav", 5, seconds=2.1)
    run("index", model, tmp_path / "long", "--out", tmp_path / "i", "--window", "1", "--hop", "0.5")
    index = Index.open(tmp_path / "i")
    assert index.rows["start"].to_pylist() == [0.0, 0.5, 1.0, 1.5]
    np.testing.assert_allclose(index.rows["seconds"], [1, 1, 1, 0.6])
    wave = read(str(tmp_path / "long/x.wav"))
    for row, start in enumerate((0, 8000, 16000, 24000)):
        np.testing.assert_allclose(index.vectors[row], expected(load(model), wave[start : start + 16000]), atol=1e-3)
    assert "0 file(s) added" in run("index", tmp_path / "long", "--out", tmp_path / "i")


@pytest.mark.parametrize(
    ("seconds", "hop", "starts", "last"),
    [
        (0.5, 1.5, [0], 0.5),
        (2.0, 1.5, [0], 2.0),
        (2.01, 1.5, [0, 1.5], 0.51),
        (2.01, 2.0, [0], 2.0),  # what is left is too short to be embedded
        (3.0, 1.5, [0, 1.5], 1.5),
        (5.0, 1.5, [0, 1.5, 3.0], 2.0),
    ],
)
def test_windows_cover_a_recording(seconds: float, hop: float, starts: list[float], last: float) -> None:
    found = list(windows(seconds, 2.0, hop, 0.025))
    assert [start for start, _ in found] == starts
    assert found[-1][1] == pytest.approx(last)


def test_each_channel_is_a_row(model: Path, tmp_path: Path, run: Run) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal((8000, 2))
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s/x.wav", wave, 16_000, subtype="FLOAT")
    run("index", model, tmp_path / "s", "--out", tmp_path / "i", "--channels", "each")
    index = Index.open(tmp_path / "i")
    assert index.rows["channel"].to_pylist() == ["1", "2"]
    for row in range(2):
        of = expected(load(model), wave[:, row].astype(np.float32))
        np.testing.assert_allclose(index.vectors[row], of, atol=1e-3)


class Killed(BaseException):
    """Ends a process as a signal would: nothing catches it."""


@pytest.mark.slow
def test_killed_at_any_write_nothing_is_lost_or_incomplete(
    model: Path, sounds: Path, tmp_path: Path, run: Run, noise: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "CHUNK", 2)
    monkeypatch.setattr(adding, "FILES", 2)
    begun = tmp_path / "begun"
    run("index", model, sounds, "--out", begun)
    (sounds / "a.wav").unlink()
    for seed in range(3):
        noise(sounds / f"new{seed}.wav", 30 + seed)
    replaced, calls = os.replace, 0

    def counted(*arguments: str) -> None:
        nonlocal calls
        calls += 1
        if calls == last:
            raise Killed
        replaced(*arguments)

    monkeypatch.setattr(files.os, "replace", counted)
    for last in range(1, 100):
        calls, out = 0, tmp_path / f"i{last}"
        shutil.copytree(begun, out)
        try:
            run("index", sounds, "--out", out)
        except Killed:
            Index.open(out)  # complete, in the old state or the new one
            before, calls = len(Index.open(out)), -1000
            run("index", sounds, "--out", out)
            assert len(Index.open(out)) >= before
            check(Index.open(out), model)
        else:
            break
    assert last > 8


def test_a_file_that_changes_while_read_is_left_for_the_next_call(
    index: Index, sounds: Path, model: Path, run: Run, noise: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise(sounds / "e.wav", 10)
    whole = adding.stream

    def slow(*arguments, **options):  # type: ignore[no-untyped-def]
        made = whole(*arguments, **options)
        noise(sounds / "e.wav", 11)
        return made

    monkeypatch.setattr(adding, "stream", slow)
    run("index", sounds, "--out", index.folder)
    assert "e.wav,changed while it was read" in (index.folder / "skipped.csv").read_text()
    monkeypatch.undo()
    run("index", sounds, "--out", index.folder)
    check(Index.open(index.folder), model)


def test_bad_files_are_listed_and_the_rest_is_indexed(index: Index, sounds: Path, run: Run) -> None:
    (sounds / "bad.wav").write_bytes(b"RIFF no sound")
    run("index", sounds, "--out", index.folder)
    assert "bad.wav" in (index.folder / "skipped.csv").read_text()
    assert len(Index.open(index.folder)) == 4
    (sounds / "bad.wav").unlink()
    run("index", sounds, "--out", index.folder)
    assert not (index.folder / "skipped.csv").exists()


@pytest.mark.parametrize("words", [["--window", "1"], ["--channels", "each"]], ids=["moments", "channels"])
def test_what_is_left_out_of_a_file_stays_listed(
    model: Path, tmp_path: Path, run: Run, noise: Write, words: list[str]
) -> None:
    folder, list_out = tmp_path / "set", tmp_path / "i" / "skipped.csv"
    folder.mkdir()
    wave = 0.1 * np.random.default_rng(0).standard_normal((48_000, 2)).astype(np.float32)
    wave[20_000:21_000, slice(2) if words[0] == "--window" else 1] = np.nan
    soundfile.write(folder / "a at 1 s.wav", wave, 16_000, subtype="FLOAT")
    run("index", model, folder, "--out", tmp_path / "i", *words)
    first = list_out.read_text()
    assert first.count("NaN") == 1 and f"a at 1 s.wav {'at 1 s' if words[0] == '--window' else 'channel 2'}," in first
    noise(folder / "b.wav", 1)
    run("index", folder, "--out", tmp_path / "i")
    assert list_out.read_text() == first
    noise(folder / "a at 1 s.wav", 2, 3.0)
    run("index", folder, "--out", tmp_path / "i")
    assert not list_out.exists()


def test_a_file_left_out_of_another_source_stays_listed(model: Path, tmp_path: Path, run: Run, noise: Write) -> None:
    for name, seed in (("one", 0), ("two", 1)):
        (tmp_path / name).mkdir()
        noise(tmp_path / name / "good.wav", seed)
    (tmp_path / "one/broken.wav").write_bytes(b"RIFF")
    run("index", model, tmp_path / "one", "--out", tmp_path / "i")
    listed = (tmp_path / "i/skipped.csv").read_text()
    assert "one/broken.wav" in listed
    run("index", tmp_path / "two", "--out", tmp_path / "i")
    assert (tmp_path / "i/skipped.csv").read_text() == listed
    noise(tmp_path / "one/broken.wav", 2)
    run("index", tmp_path / "one", "--out", tmp_path / "i")
    assert not (tmp_path / "i/skipped.csv").exists()


def test_an_index_that_could_embed_nothing_leaves_no_folder(
    model: Path, tmp_path: Path, run: Run, noise: Write
) -> None:
    (tmp_path / "set").mkdir()
    soundfile.write(tmp_path / "set/bad.wav", np.full(8_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    assert "NaN" in run("index", model, tmp_path / "set", "--out", tmp_path / "i", code=2)
    noise(tmp_path / "set/good.wav", 0)
    run("index", model, tmp_path / "set", "--out", tmp_path / "i")
    assert len(Index.open(tmp_path / "i")) == 1


def test_another_model_or_setting_is_refused(index: Index, model: Path, sounds: Path, tmp_path: Path, run: Run) -> None:
    other = load(model)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    other.save(tmp_path / "other")
    line = run("index", tmp_path / "other", sounds, "--out", index.folder, code=2)
    assert "made by" in line and str(tmp_path / "other") in line and line.count("\n") == 1
    for option in (["--window", "1"], ["--channels", "first"], ["--pooling", "mean"], ["--precision", "bf16"]):
        line = run("index", sounds, "--out", index.folder, *option, code=2)
        assert f"{index.folder}: made with" in line and line.count("\n") == 1


def test_mistakes_are_one_line(model: Path, sounds: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "i"
    assert "nothing to index" in run("index", code=2)
    assert "--out is missing:" in run("index", model, sounds, code=2)
    line = run("index", tmp_path / "no_such", "--out", out, code=2)
    assert f"{tmp_path / 'no_such'}: neither a model nor a file or folder of that name exists; check the path" in line
    assert "no audio in folder" in run("index", model, tmp_path / "empty", "--out", out, code=2)
    assert "--hop 1 without --window" in run("index", model, sounds, "--hop", "1", "--out", out, code=2)
    assert "--window -1" in run("index", model, sounds, "--window", "-1", "--out", out, code=2)
    assert "holds other files" in run("index", model, sounds, "--out", sounds, code=2)
    (tmp_path / "empty/bad.wav").write_bytes(b"no")
    assert "no usable audio" in run("index", model, tmp_path / "empty", "--out", out, code=2)
    (sounds / "none.csv").write_text("path\n")
    assert f"{sounds / 'none.csv'}: " in run("index", model, sounds / "none.csv", "--out", out, code=2)
    assert not out.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": 10**9}, "bytes, not"),
        ({"rows": 3}, "4 rows, and index.json states 3"),
        ({"width": 25}, "it holds"),
        ({"vectors": "../vectors-000001.npy"}, "names files that no index has"),
        ({"rows": -1}, "states -1 rows"),
        ({"format": 2}, "format 2"),
        ({"model": 3}, "model"),
    ],
)
def test_an_untrusted_index_is_read_within_limits(index: Index, run: Run, changed: dict, message: str) -> None:
    file = index.folder / layout.STATE
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    line = run("search", index.folder, "0", code=2)
    assert message in line and line.count("\n") == 1


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("path", None, "a row has no path"),
        ("path", "", "the path of a row is empty"),
        ("path", "a\0b", "NUL"),
        ("seconds", None, "a row has no seconds"),
    ],
)
def test_rows_of_an_untrusted_index_are_checked(index: Index, run: Run, column: str, value: Any, message: str) -> None:
    (file,) = index.folder.glob("rows-*.parquet")
    rows = pq.read_table(file)
    place = rows.column_names.index(column)
    field, values = rows.schema.field(column), [value, *rows[column].to_pylist()[1:]]
    pq.write_table(rows.set_column(place, field, pa.array(values, field.type)), file)
    for words in (["search", index.folder, "1"], ["map", index.folder, "--out", index.folder.parent / "m.html"]):
        assert message in (line := run(*words, code=2)) and line.count("\n") == 1


def test_vectors_of_objects_are_refused(index: Index, run: Run) -> None:
    np.save(index.folder / "vectors-000001.npy", np.array([{}], object))
    assert "not the vectors of this index" in run("search", index.folder, "0", code=2)
