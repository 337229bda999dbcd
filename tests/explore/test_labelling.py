"""Active learning: the queries, the training rows, the file written and the accuracy measured."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aasp.cli.main import main
from aasp.datasets.benchmarks.index import open_index
from aasp.errors import AaspError
from aasp.explore.labelling import EVERY, Labelling, held_out
from aasp.explore.labels_file import read_labels
from aasp.index import Index

NAMES = ("dog", "rain", "engine")


@pytest.fixture(scope="module")
def index(indexed: Callable[..., Index]) -> Index:
    return indexed(count=300, files=0, spread=0.5)


def begun(index: Index, file: Path, count: int = 0) -> Labelling:
    """A labelling with this many labels, all correct."""
    labelling = Labelling(index, file, read_labels(index, file), list(NAMES))
    for _ in range(count):
        assert labelling.current is not None
        labelling.label(labelling.current.row, NAMES[labelling.current.row % 3])
    return labelling


def test_rows_queried_and_rows_trained_on(index: Index, tmp_path: Path) -> None:
    labelling = begun(index, tmp_path / "labels.csv")
    kept, _ = held_out(index)
    whys = []
    for number in range(40):
        query = labelling.current
        assert query is not None and kept[query.row] == (query.why == "held out")
        assert (query.why == "held out") == (number % EVERY == EVERY - 1)
        if query.why == "uncertain":
            model = labelling._model
            assert model is not None and set(query.between) <= set(NAMES)
            free = [r for r in np.flatnonzero(~kept) if r not in {label.row for label in labelling.labels}]
            likely = np.sort(model.predict_proba(labelling.features[free]), axis=1)
            assert query.row == free[(likely[:, -1] - likely[:, -2]).argmin()]
        whys.append(query.why)
        labelling.label(query.row, NAMES[query.row % 3])
    assert whys.count("held out") == 8 and "start" in whys[:3] and whys.count("uncertain") > 25
    train = [label for label in labelling.labels if not label.held_out]
    assert not any(kept[label.row] for label in train)


def test_the_accuracy_is_that_of_held_out_rows(index: Index, tmp_path: Path) -> None:
    labelling = begun(index, tmp_path / "labels.csv", 60)
    found = labelling.accuracy()
    tested = [label for label in labelling.labels if label.held_out]
    assert found is not None and labelling._model is not None and found.clips == len(tested) == 12
    right = labelling._model.predict(labelling.features[[label.row for label in tested]])
    assert found.estimate == np.mean([NAMES[label.row % 3] for label in tested] == right)
    truth = np.array(NAMES)[np.arange(300) % 3]
    unseen = np.setdiff1d(np.flatnonzero(held_out(index)[0]), [label.row for label in tested])
    rest = (labelling._model.predict(labelling.features[unseen]) == truth[unseen]).mean()
    assert found.low is not None and found.high is not None and found.low <= rest <= found.high


def test_held_out_rows_stay_so_when_the_index_grows_and_under_another_name(index: Index) -> None:
    kept, _ = held_out(index)
    assert 0.1 < kept.mean() < 0.3
    renamed = index.rows.set_column(0, "path", pa.array([f"new {i}" for i in range(300)]))
    grown = replace(index, rows=pa.concat_tables([renamed.slice(100), renamed.slice(0, 100)]))
    np.testing.assert_array_equal(held_out(grown)[0], np.roll(kept, -100))


def test_labels_of_moments_stay_on_their_side_when_there_are_enough_recordings(index: Index, tmp_path: Path) -> None:
    def cut(files: int) -> Index:
        hashes = [str(min(row, 24 * 12 + files - 25) // 12) for row in range(300)]
        rows = index.rows
        for name, values in (("hash", hashes), ("start", [float(row) for row in range(300)])):
            at = rows.column_names.index(name)
            rows = rows.set_column(at, name, pa.array(values, rows.schema.field(name).type))
        assert len(set(hashes)) == files
        return replace(index, rows=rows)

    few, more = cut(24), cut(25)
    labels = begun(few, tmp_path / "labels.csv", 30).labels
    labels = [label for label in labels if label.row < 288]  # the others are of another recording in `more`
    grown = Labelling(more, tmp_path / "labels.csv", labels)
    assert all(grown.held_out[label.row] == label.held_out for label in labels)
    assert not all(held_out(more)[0][label.row] == label.held_out for label in labels)


def test_labels_are_resumed_and_undone(index: Index, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    first = begun(index, file, 12)
    again = begun(index, file)
    assert again.labels == first.labels and again.current == first.current and again.classes == list(NAMES)
    last = again.labels[-1]
    again.undo()
    assert again.current is not None and again.current.row == last.row and read_labels(index, file) == first.labels[:-1]
    again.label(last.row, "rain")
    assert read_labels(index, file)[-1] == (last.row, "rain", last.held_out)
    with pytest.raises(AaspError, match="is not the current one"):
        again.label(last.row, "rain")
    skipped = again.current
    again.skip()
    assert skipped is not None and again.current is not None and again.current.row != skipped.row


def test_the_file_is_a_manifest_that_trains_a_classifier(small: Index, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    labelling = begun(small, file, 30)
    made = open_index(file, "label", "split")
    assert [sound for sound in made.sounds] == [small.sound(label.row).path for label in labelling.labels]
    assert [labels[0] for labels in made.labels] == [label.name for label in labelling.labels]
    assert set(made.parts) == {"train", "test"} and made.parts.count("test") == 6
    out = tmp_path / "predicted.csv"
    assert main(["label", str(small.folder), "--labels", str(file), "--predict", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 60 and sum(row["given"] != "" for row in rows) == 30
    assert np.mean([row["label"] == NAMES[i % 3] for i, row in enumerate(rows)]) > 0.9
    assert all(1 / 3 < float(row["probability"]) <= 1 for row in rows)


def test_all_rows_can_be_labelled(indexed: Callable[..., Index], tmp_path: Path) -> None:
    labelling = begun(indexed(count=7, files=0), tmp_path / "labels.csv", 7)
    assert labelling.current is None and sorted(label.row for label in labelling.labels) == list(range(7))
    assert labelling.state()["current"] is None


@pytest.mark.parametrize("name", ["", "a;b", "x" * 81, "bell\a", "dog "])
def test_a_class_has_a_name_of_its_own(index: Index, tmp_path: Path, name: str) -> None:
    with pytest.raises(AaspError, match="class"):
        begun(index, tmp_path / "labels.csv").add_class(name)


def test_times_are_read_as_a_spreadsheet_saves_them(index: Index, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    labels = begun(index, file, 3).labels
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(",0.000,0.500,", ",0,0.5,"), encoding="utf-8")
    assert ",0,0.5," in file.read_text(encoding="utf-8") and read_labels(index, file) == labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.500", "0.7", 1), "line 2: .* but without a row of start 0.000, end 0.7; correct"),
        (lambda text: text.replace("0.500", "soon", 1), "line 2: .* but without a row of start 0.000, end soon; "),
        (lambda text: text.replace("0.500", "", 1), "line 2: .* but without a row of start 0.000, end ; "),
        (lambda text: text.replace("clip", "flip", 1), "line 2: .*flip 000.* is not in"),
        (lambda text: text + text.splitlines()[1] + "\n", "is there twice; remove one line"),
        (lambda text: text.replace(",train", ",held", 1), "split 'held'; split is train or test"),
        (lambda text: text.replace("label", "class", 1), "columns path,start,end,class,split, not"),
        (lambda text: text.encode("utf-16").decode("latin-1"), "columns|not a CSV"),
    ],
)
def test_a_file_that_is_not_of_this_index_is_refused(
    index: Index, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    file = tmp_path / "labels.csv"
    begun(index, file, 2)
    file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(AaspError, match=message):
        read_labels(index, file)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--labels is missing:"),
        (["--labels", "labels.txt"], "no such format: labels.txt; end it in .csv"),
        (["--labels", "labels.csv", "--port", "70000"], "--port 70000: give a number from 0 to 65535"),
        (["--labels", "no.csv", "--predict", "p.csv"], "no.csv: no such file; label some sounds first"),
        (["--labels", "l.csv", "--predict", "./l.csv", "--overwrite"], "--predict l.csv is the file of labels"),
        (["--labels", "labels.csv"], "nowhere: no such folder; make one by `aasp index"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["label", "nowhere", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
