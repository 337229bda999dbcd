"""Readings are right about what the features hold, kept and found again; leads are paired over groups."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from aasp.report import comparison
from aasp.report.comparison import LABELS, Reading, compare, fingerprint, kept, rows_of


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


def read(data, told=None, blind=False) -> Reading:
    """A reading of features that hold every label, or (blind) none."""
    rng = np.random.default_rng(1)
    rows = {row["path"]: row for name in ("notes", "signals") for row in rows_of(data, name)}

    def features(paths, progress):
        progress(len(paths), len(paths))
        X = rng.normal(size=(len(paths), 8))
        if not blind:
            for i, path in enumerate(paths):
                row = rows[path]
                told = [
                    row.get("family") == "reed",
                    row.get("pitch") == "60",
                    row.get("pitch") == "61",
                    row.get("rate") == "40",
                ]
                X[i, :4] += 20 * np.array(told)
        return {"noise": rng.normal(size=(len(paths), 4)), "signal": X}

    shows = ([], []) if told is None else told
    show = lambda k: lambda done, total: shows[k].append((done, total))
    return comparison._read(features, data, show(0), show(1))


def test_reading(data):
    told = ([], [])
    reading = read(data, told)
    assert reading.chosen == dict.fromkeys(LABELS, "signal")
    assert {label: len(values) for label, values in reading.correct.items()} == {"family": 48, "pitch": 48, "rate": 12}
    assert all(values.mean() == 1 for values in reading.correct.values())
    assert told[0] == [(144, 180), (180, 180)] and told[1][-1] == (6, 6)


def test_a_reading_is_kept_and_found_again(data, tmp_path):
    reading, file = read(data), tmp_path / "kept" / "one.npz"
    assert Reading.load(file, "a") is None
    reading.save(file, "a")
    found = Reading.load(file, "a")
    assert found is not None and found.chosen == reading.chosen
    assert all((found.correct[label] == reading.correct[label]).all() for label in LABELS)
    assert Reading.load(file, "b") is None
    assert kept(file, "a", ["notes"]) is None, "another part is asked for"
    file.write_bytes(file.read_bytes()[:100])
    assert Reading.load(file, "a") is None


def test_fingerprint_knows_the_weights_and_the_sounds(data):
    import torch

    model = torch.nn.Linear(2, 2)
    one = fingerprint(data, model)
    assert one == fingerprint(data, model) != fingerprint(data, None)
    with torch.no_grad():
        model.weight[0, 0] += 1
    other = fingerprint(data, model)
    assert other != one
    (data / "dataset.json").write_text(json.dumps({"version": 2}))
    assert fingerprint(data, model) != other


def test_comparison(data):
    tasks = compare({"knowing": read(data), "blind": read(data, blind=True)}, data)
    assert [task.name for task in tasks] == ["Instrument family", "Pitch", "Modulation rate"]
    family = tasks[0]
    assert family.about == "2 families · 48 notes of 8 instruments not heard in training"
    assert family.chance == 0.5
    assert family.accuracy["knowing"].estimate == 1 and family.accuracy["blind"].estimate < 0.8
    assert list(family.difference) == ["blind"] and family.difference["blind"].excludes_zero()
    assert family.difference["blind"].clusters == 8
