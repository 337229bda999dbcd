"""What the demo measures: readings choose on the valid part and are kept; differences are paired over groups."""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import pytest

from aasp.evaluate import demo
from aasp.evaluate.demo import LABELS, LOOKED_AT, Reading, compare, fingerprint, first_look, rows_of, verdict
from aasp.evaluate.intervals import Interval
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig


@pytest.fixture
def data(tmp_path):
    """Indices alone: 8 instruments and 6 voices in each split, no sounds."""
    rng = np.random.default_rng(0)
    notes, signals = [], []
    for split in ("train", "valid", "test"):
        for k in range(8):
            for n in range(6):
                labels = {"family": ["bass", "reed"][k % 2], "pitch": str(60 + n % 3)}
                notes.append({"path": f"{split}/{k}-{n}.flac", "split": split, "instrument": f"{split} {k}"} | labels)
        for k in range(6):
            for rate in ("1.5", "40"):
                row = {"path": f"{split}/v{k}-{rate}.flac", "split": split, "instrument": f"voice {split} {k}"}
                signals.append(row | {"rate": rate})
    for name, rows in (("notes", notes), ("signals", signals)):
        rng.shuffle(rows)
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    (tmp_path / "dataset.json").write_text(json.dumps({"version": 1}))
    return tmp_path


def read(data, recorded=None, blind=False) -> Reading:
    """A reading of features that hold every label, or (blind) none."""
    rng = np.random.default_rng(1)
    rows = {row["path"]: row for name in ("notes", "signals") for row in rows_of(data, name)}

    def features(paths, progress):
        progress(len(paths), len(paths))
        X = rng.normal(size=(len(paths), 8))
        if not blind:
            for i, path in enumerate(paths):
                row = rows[path]
                recorded = [
                    row.get("family") == "reed",
                    row.get("pitch") == "60",
                    row.get("pitch") == "61",
                    row.get("rate") == "40",
                ]
                X[i, :4] += 20 * np.array(recorded)
        return {"noise": rng.normal(size=(len(paths), 4)), "signal": X}

    shows = ([], []) if recorded is None else recorded
    show = lambda k: lambda done, total: shows[k].append((done, total))
    return demo._probed(features, data, show(0), show(1))


def test_reading(data):
    recorded = ([], [])
    reading = read(data, recorded)
    assert reading.chosen == dict.fromkeys(LABELS, "signal")
    assert {label: len(values) for label, values in reading.correct.items()} == {"family": 48, "pitch": 48, "rate": 12}
    assert all(np.mean(values) == 1 for values in reading.correct.values())
    assert recorded[0] == [(144, 180), (180, 180)] and recorded[1][-1] == (6, 6)


@pytest.fixture
def encoder() -> AudioEncoder:
    return AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(48, 1, 3))).eval()


def test_a_reading_is_kept_and_found_again(data, tmp_path, encoder, monkeypatch):
    folder, calls = tmp_path / "kept", []
    made = Reading({label: [1.0, 0.0] for label in LABELS}, dict.fromkeys(LABELS, "layer 1, mean"))
    monkeypatch.setattr(demo, "_probed", lambda *of: calls.append(of) or made)
    again = lambda one=encoder: demo.read(one, data, folder, lambda what: print)
    assert again() == again() == made and len(calls) == 1
    assert again(None) == made and len(calls) == 2, "of no encoder it is another one"
    (file,) = folder.glob(f"{fingerprint(data, encoder)[:16]}*")
    file.write_bytes(file.read_bytes()[:100])
    assert again() == made and len(calls) == 3


def test_fingerprint_knows_the_weights_and_the_sounds(data, encoder):
    import torch

    one = fingerprint(data, encoder)
    assert one == fingerprint(data, encoder) != fingerprint(data, None)
    with torch.no_grad():
        next(encoder.parameters())[0] += 1
    other = fingerprint(data, encoder)
    assert other != one
    (data / "dataset.json").write_text(json.dumps({"version": 2}))
    assert fingerprint(data, encoder) != other


def test_the_first_look_is_at_some_notes_of_every_instrument(data, tmp_path, monkeypatch):
    """Vectors that hold the labels name them from a few labelled clips; notes that are not looked at have no part."""
    monkeypatch.setattr(demo, "LOOKED_AT", 4)
    one = {row["path"]: row["family"] == "reed" for row in rows_of(data, "notes")}
    one |= {row["path"]: row["rate"] == "40" for row in rows_of(data, "signals")}
    rng = np.random.default_rng(0)
    vectors = lambda _, paths, *__: rng.normal(size=(len(paths), 8)) + 9 * np.array([[one[path]] for path in paths])
    monkeypatch.setattr(demo, "_vectors", vectors)
    look = first_look(data, {"knowing": None}, tmp_path, lambda name: print)
    assert LOOKED_AT == 8 and len(look.rows) == 3 * 8 * 4
    assert set(Counter(row["instrument"] for row in look.rows).values()) == {4}
    rate, family = look.few
    assert [of.accuracy[5]["knowing"].clusters for of in (rate, family)] == [6, 8]
    assert rate.chance == family.chance == 0.5
    assert all(of.accuracy[5]["knowing"].estimate > 0.95 for of in (rate, family))
    # Every third of the twelve voices that are not tested, and the six that are, at two rates.
    assert rate.clips == (20, "signals", 12) and family.clips == (96, "notes", 32)
    assert look.maps["knowing"].shape == (96, 2)
    (query,), (near,) = look.queries, look.neighbours
    assert query in look.rows and all(row in look.rows and row["instrument"] != query["instrument"] for row in near)
    assert {row["family"] for row in near} == {query["family"]}


def test_comparison(data):
    tasks = compare({"knowing": read(data), "blind": read(data, blind=True)}, data)
    assert [task.name for task in tasks] == ["Instrument family", "Pitch", "Modulation rate"]
    family = tasks[0]
    assert family.about == "2 families · 48 notes of 8 instruments kept out of training"
    assert family.chance == 0.5
    assert family.accuracy["knowing"].estimate == 1 and family.accuracy["blind"].estimate < 0.8
    assert list(family.difference) == ["blind"] and family.difference["blind"].excludes_zero()
    assert family.difference["blind"].clusters == 8


def interval(estimate: float, low: float | None, high: float | None) -> Interval:
    return Interval(estimate, low, high, 0.95, 18, 432)


def test_verdict_marks_unclear_differences():
    assert verdict(interval(0.05, 0.01, 0.09)) == "+5.0 points (+1.0 to +9.0)"
    assert verdict(interval(-0.05, -0.09, 0.01)) == "−5.0 points (−9.0 to +1.0), no clear difference"
    assert verdict(interval(0.05, None, None)) == "+5.0 points (too few to tell), no clear difference"
