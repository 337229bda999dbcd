"""The demo's data is complete, labelled, disjoint between splits, the same each time, and made once."""

from __future__ import annotations

import csv
import hashlib

import pytest
import soundfile

from aasp.datasets import demo
from aasp.datasets.demo import Size, build
from aasp.errors import AaspError

pytest.importorskip("midirenderer")

SMALL = Size(notes=1, voices=(1, 1, 1))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    progress = []
    folder = build(tmp_path_factory.mktemp("demo") / "data", size=SMALL, progress=progress.append)
    assert progress == list(range(1, SMALL.clips + 1))
    return folder


def rows(folder, name="index"):
    with open(folder / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_index_names_every_file(data):
    found = rows(data)
    assert len(found) == SMALL.clips == 63 + 3 * 6 * 8
    assert sorted(row["path"] for row in found) == sorted(str(p.relative_to(data)) for p in data.rglob("*.flac"))
    for row in found:
        assert row["path"].startswith(row["split"] + "/")
    info = soundfile.info(data / found[0]["path"])
    assert (info.samplerate, info.channels, info.duration, info.format) == (16_000, 1, 2.5, "FLAC")


def test_labels(data):
    notes, signals = rows(data, "notes"), rows(data, "signals")
    assert len(notes) == 63 and len(signals) == 144
    assert all(row["family"] and 36 <= int(row["pitch"]) <= 83 for row in notes)
    assert all(abs(float(row["rate_hz"]) / float(row["rate"]) - 1) <= 0.05 for row in signals)
    assert len({row["rate"] for row in signals}) == 8 and len({row["kind"] for row in signals}) == 6
    first = rows(data)[0]
    assert (first["family"], first["rate"]) == ("bass", "")


def test_no_instrument_is_in_two_splits(data):
    for name in ("notes", "signals"):
        splits = {}
        for row in rows(data, name):
            assert splits.setdefault(row["instrument"], row["split"]) == row["split"]
        assert set(splits.values()) == {"train", "valid", "test"}


def test_every_rate_of_a_voice_is_there(data):
    one = {row["rate"] for row in rows(data, "signals") if row["instrument"] == "fm noise 02"}
    assert len(one) == 8


def test_made_once(data):
    before = digest(data)
    assert build(data, size=SMALL, progress=lambda done: pytest.fail("made again")) == data
    assert digest(data) == before


def test_other_content_is_refused(data, tmp_path):
    with pytest.raises(AaspError, match="not this demo's data"):
        build(data, size=Size(notes=1, voices=(2, 1, 1)))
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(AaspError, match="not this demo's data"):
        build(tmp_path, size=SMALL)
    assert (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.slow
def test_interrupted_then_built_again_is_the_same(data, tmp_path, monkeypatch):
    def stop(done):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "data", size=SMALL, progress=stop)
    assert not (tmp_path / "data").exists()
    build(tmp_path / "data", size=SMALL)
    assert digest(tmp_path / "data") == digest(data)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_keys_come_again_only_when_all_were_played():
    import numpy as np

    keys = demo._spread(36, 40, 12, np.random.default_rng(0))
    assert sorted(keys[:5]) == sorted(keys[5:10]) == [36, 37, 38, 39, 40]
    assert len(set(keys[10:])) == 2
