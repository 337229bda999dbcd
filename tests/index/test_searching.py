"""Results equal those of a plain product; output has the requested format; databases hold the same rows."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp.errors import AaspError
from aasp.index import Index, nearest
from aasp.index.databases import to_lancedb, to_qdrant
from aasp.index.layout import Settings
from aasp.index.nearest import unit
from aasp.index.neighbours import neighbours
from aasp.index.query import channels_in, embed, model_of, rocchio
from aasp.model.audio_encoder import load

Run = Callable[..., str]
Write = Callable[..., None]


@pytest.fixture
def cloud() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((1000, 16))).astype(np.float16)


@pytest.mark.parametrize("subset", [False, True])
def test_nearest_agrees_with_a_full_sort(cloud: np.ndarray, subset: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 64)
    queries = np.random.default_rng(1).standard_normal((5, 16))
    rows = np.arange(3, 1000, 7) if subset else np.arange(1000)
    found, similarities = nearest.nearest(cloud, queries, 20, rows if subset else None)
    plain = unit(queries) @ cloud.astype(np.float32).T
    for query in range(5):
        order = rows[np.argsort(-plain[query, rows], kind="stable")][:20]
        np.testing.assert_array_equal(found[query], order)
        np.testing.assert_allclose(similarities[query], plain[query, order], atol=1e-5)
    mask = np.isin(np.arange(1000), rows)
    np.testing.assert_array_equal(nearest.nearest(cloud, queries, 20, mask)[0], found)


def test_equal_rows_come_in_order_and_a_group_keeps_apart() -> None:
    same = np.tile(unit(np.ones((1, 4))).astype(np.float16), (6, 1))
    found, _ = nearest.nearest(same, same[:1], 4)
    np.testing.assert_array_equal(found[0], sorted(found[0]))
    found, cosines = neighbours(same, 4, 0.9, np.array([0, 0, 1, 1, 2, 2]))
    assert set(found[0]) == {2, 3, 4, 5} and set(found[2]) == {0, 1, 4, 5} and cosines.min() > 0.99


@pytest.mark.parametrize("least", [-1.0, 0.5, 1.1])
def test_neighbours_agree_with_a_full_sort(cloud: np.ndarray, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aasp.index.neighbours.BLOCK", 64)
    groups = np.random.default_rng(1).integers(0, 300, len(cloud))
    found, cosines = neighbours(cloud, 8, least, groups)
    plain = cloud.astype(np.float32) @ cloud.astype(np.float32).T
    plain[groups[:, None] == groups] = -2
    order = np.argsort(-plain, kind="stable")[:, :8]
    expected = np.take_along_axis(plain, order, 1)
    np.testing.assert_array_equal(found, np.where(expected >= least, order, -1))
    np.testing.assert_allclose(cosines, np.where(expected >= least, expected, -2), atol=1e-5)


@pytest.mark.parametrize(
    ("query", "count", "rows", "message"),
    [
        (np.ones(15), 1, None, "vectors of 16"),
        (np.zeros(16), 1, None, "no direction"),
        (np.full(16, np.nan), 1, None, "no direction"),
        (np.ones(16), 0, None, "count is 0"),
        (np.ones(16), 1, np.array([1000]), "from 0 to 999"),
    ],
)
def test_a_wrong_query_is_one_line(cloud: np.ndarray, query: np.ndarray, count: int, rows, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AaspError, match=message):
        nearest.nearest(cloud, query, count, rows)


def test_rocchio_weights_follow_the_textbook() -> None:
    one, two, three = np.eye(3, dtype=np.float32)
    moved = rocchio(one, np.stack([two, 2 * three]), three[None])
    plain = np.array([1, 0.75 / 2, 0.75 / 2 - 0.15])
    np.testing.assert_allclose(moved, plain / np.linalg.norm(plain), atol=1e-6)
    np.testing.assert_allclose(rocchio(3 * one, np.zeros((0, 3)), np.zeros((0, 3))), one)


def printed(text: str, format: str) -> list[dict]:
    return json.loads(text) if format == "json" else list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("format", ["json", "csv"])
def test_a_row_finds_its_neighbours_and_not_itself(index: Index, run: Run, format: str) -> None:
    found = printed(run("search", index.folder, "1", "--format", format, "--count", "2"), format)
    plain = index.vectors.astype(np.float32) @ index.vectors[1].astype(np.float32)
    order = [row for row in np.argsort(-plain) if row != 1][:2]
    assert [int(one["row"]) for one in found] == order
    assert [one["path"] for one in found] == [index.sound(row).path for row in order]
    np.testing.assert_allclose([float(one["similarity"]) for one in found], plain[order], atol=1e-3)


def test_columns_called_as_results_are_not_taken_for_them(model: Path, sounds: Path, tmp_path: Path, run: Run) -> None:
    rows = [f"{path},{9 - number},x" for number, path in enumerate(sorted(sounds.rglob("*.*")))]
    (tmp_path / "m.csv").write_text("\n".join(["path,row,similarity", *rows]))
    run("index", model, tmp_path / "m.csv", "--out", tmp_path / "i")
    index = Index.open(tmp_path / "i")
    for words in ([], ["--frames"]):
        found = printed(run("search", index.folder, "0", "--format", "json", *words), "json")
        assert found and all(one["path"] == index.sound(one["row"]).path for one in found)
        assert all(one["own_row"] == 9 - one["row"] and one["own_similarity"] == "x" for one in found)


def test_an_address_that_a_search_printed_is_a_query(model: Path, sounds: Path, tmp_path: Path, run: Run) -> None:
    run("shard", sounds, "--out", tmp_path / "shards")
    run("index", model, tmp_path / "shards", "--out", tmp_path / "i")
    address = Index.open(tmp_path / "i").sound(2).path
    found = printed(run("search", tmp_path / "i", address, "--format", "json"), "json")
    assert found[0]["path"] == address and found[0]["similarity"] == pytest.approx(1, abs=2e-3)


def test_a_file_finds_itself_and_examples_are_left_out(index: Index, sounds: Path, run: Run) -> None:
    found = printed(run("search", index.folder, sounds / "d.wav", "--format", "json"), "json")
    assert len(found) == 4 and found[0]["row"] == 2 and found[0]["similarity"] == pytest.approx(1, abs=2e-3)
    assert found[0]["seconds"] == pytest.approx(1.0)
    words = ["--like", "0", sounds / "b.flac", "--unlike", "3"]
    found = printed(run("search", index.folder, sounds / "d.wav", *words, "--format", "json"), "json")
    moved = rocchio(
        *(embed(index, model_of(index), [str(sounds / "d.wav")])), index.vectors[[0, 1]], index.vectors[[3]]
    )
    assert [one["row"] for one in found] == [row for row in index.search(moved, 4)[0][0] if row not in (0, 3)]


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    """A folder of two files with different noise in their channels, and a mono one."""
    folder, rng = tmp_path / "stereo", np.random.default_rng(0)
    folder.mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(folder / name, rng.standard_normal((12_000, 2)) * [0.02, 0.2], 16_000)
    soundfile.write(folder / "c.wav", np.cumsum(rng.standard_normal(12_000)) / 400, 16_000)
    return folder


@pytest.mark.parametrize(
    "words",
    [["--channels", "first"], ["--channels", "2"], ["--channels", "each"], ["--precision", "bf16"]],
    ids=lambda words: words[1],
)
def test_a_file_is_embedded_with_the_settings_of_the_index(
    stereo: Path, model: Path, tmp_path: Path, run: Run, words: list[str]
) -> None:
    run("index", model, stereo, "--out", tmp_path / "i", *words)
    index, encoder = Index.open(tmp_path / "i"), model_of(Index.open(tmp_path / "i"))
    rows = [row for row in range(len(index)) if index.sound(row).path == str(stereo / "b.wav")]
    assert len(rows) == (2 if words[1] == "each" else 1)
    made = embed(index, encoder, channels_in(index, str(stereo / "b.wav")))
    np.testing.assert_allclose(made, index.vectors[rows].astype(np.float32), atol=2.5e-4)  # rounded to float16
    plain = embed(replace(index, state=replace(index.state, settings=Settings())), encoder, [str(stereo / "b.wav")])
    assert all(np.abs(plain[0] - index.vectors[row]).max() > 4e-4 for row in rows), "the setting does matter here"
    found = printed(run("search", index.folder, stereo / "b.wav", "--format", "json"), "json")
    assert {one["row"] for one in found[: len(rows)]} == set(rows) and len(found) == len(index)
    assert [one["similarity"] for one in found[: len(rows)]] == pytest.approx([1.0] * len(rows), abs=1e-3)
    within = ["--frames", "--within", "b.wav", "--format", "json"]
    assert printed(run("search", index.folder, stereo / "b.wav", *within), "json")[0]["similarity"] > 0.999


def test_a_file_without_the_channel_of_the_index_is_refused(
    stereo: Path, model: Path, tmp_path: Path, run: Run
) -> None:
    run("index", model, stereo, "--out", tmp_path / "i", "--channels", "2")
    line = run("search", tmp_path / "i", stereo / "c.wav", code=2)
    assert "c.wav: has 1 channel(s), and " in line and "is of channel 2; choose a file that has it" in line


def test_moments_of_the_results(index: Index, sounds: Path, tmp_path: Path, run: Run, noise: Write) -> None:
    noise(tmp_path / "query.wav", 3, 0.4)  # the first 0.4 s of d.wav, which is of the same seed
    words = [tmp_path / "query.wav", "--frames", "--within", "d.wav"]
    found = printed(run("search", index.folder, *words, "--format", "json"), "json")
    assert [one["start"] for one in found[:1]] == [0.0] and found[0]["similarity"] > 0.999
    assert sorted(one["start"] for one in found) == pytest.approx([0.0, 0.2, 0.4, 0.6])
    labels = run("search", index.folder, *words, "--format", "audacity").splitlines()
    assert labels[0].split("\t")[:2] == ["0.000000", "0.400000"] and len(labels) == 4
    line = run("search", index.folder, "0", "--format", "audacity", code=2)
    assert "results of 3 recordings" in line and "--within" in line


def test_mistakes_are_one_line(index: Index, model: Path, sounds: Path, tmp_path: Path, run: Run) -> None:
    for words, message in [
        (["9"], "no row 9; there are 4"),
        (["gone.wav"], "no such file: gone.wav"),
        ([sounds], "a folder where a sound file was meant"),
        (["0", "--count", "0"], "--count is 0"),
        (["0", "--within", "elsewhere"], "--within elsewhere: no row is there"),
        ([model / "config.json"], "config.json"),
    ]:
        line = run("search", index.folder, *words, code=2)
        assert message in line and line.count("\n") == 1
    assert "no such folder; make one" in run("search", tmp_path / "none", "0", code=2)
    assert "no index; make one" in run("search", sounds, "0", code=2)
    with torch.no_grad():
        other = load(model)
        next(other.parameters()).add_(1)
    shutil.copytree(index.folder, tmp_path / "moved")
    state = json.loads((tmp_path / "moved/index.json").read_text())
    state["model"]["name"] = str(tmp_path / "other")
    (tmp_path / "moved/index.json").write_text(json.dumps(state))
    assert "the model that made it" in run("search", tmp_path / "moved", sounds / "d.wav", code=2)
    other.save(tmp_path / "other")
    assert "there is another now" in run("search", tmp_path / "moved", sounds / "d.wav", code=2)


def test_only_sound_files_below_the_root_are_served(index: Index, sounds: Path, tmp_path: Path) -> None:
    shutil.move(sounds, tmp_path / "elsewhere")
    moved = Index.open(index.folder, tmp_path / "elsewhere")
    assert moved.sound(3, inside=True).path == str(tmp_path / "elsewhere/deep/c.ogg")
    for path in ("../x.wav", "/etc/x.wav", "deep/../../x.wav", "deep/passwd", "s3://bucket/x.wav", ""):
        rows = moved.rows.set_column(0, "path", [[path] * 4])
        with pytest.raises(AaspError, match="not given away"):
            Index(moved.folder, rows, moved.vectors, moved.root, moved.state).sound(0, inside=True)


@pytest.mark.slow
def test_lancedb_holds_the_same(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datasets", raising=False)  # it looks for the package of that name
    lancedb = pytest.importorskip("lancedb")
    for _ in range(2):  # it is replaced
        to_lancedb(index, str(tmp_path / "db"), "sounds")
    table = lancedb.connect(str(tmp_path / "db")).open_table("sounds")
    assert table.count_rows() == 4
    found = table.search(index.vectors[2].astype(np.float32)).distance_type("cosine").limit(4).to_list()
    assert [one["row"] for one in found] == index.search(index.vectors[2], 4)[0][0].tolist()
    assert {one["row"]: one["path"] for one in found} == dict(enumerate(index.rows["path"].to_pylist()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Failed to obtain server version")
def test_qdrant_holds_the_same(index: Index, tmp_path: Path, run: Run) -> None:
    client = pytest.importorskip("qdrant_client")
    for _ in range(2):
        run("index", "--out", index.folder, "--to", "qdrant", "--database", tmp_path / "db")
    found = client.QdrantClient(path=str(tmp_path / "db")).query_points("index", index.vectors[2].tolist(), limit=4)
    assert [one.id for one in found.points] == index.search(index.vectors[2], 4)[0][0].tolist()
    assert {one.id: one.payload["path"] for one in found.points} == dict(enumerate(index.rows["path"].to_pylist()))
    with pytest.raises(AaspError, match="http://localhost:1: not written"):
        to_qdrant(index, "http://localhost:1", "sounds")


def test_a_database_needs_a_place(index: Index, run: Run) -> None:
    assert "--to and --database belong together" in run("index", "--out", index.folder, "--to", "lancedb", code=2)
