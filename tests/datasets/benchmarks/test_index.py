"""An index of one's own, and the one way in to all labelled data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from trees import esc50, sound, table

from aasp.datasets.benchmarks.esc50 import CLASSES
from aasp.datasets.benchmarks.index import open_index
from aasp.datasets.benchmarks.open import open_labelled
from aasp.errors import AaspError

COLUMNS = ("path", "label", "tags", "fold", "who")
ROWS = [
    ("a.wav", "dog", "x;y", 1, "anna"),
    ("b.wav", "cat", "", 2, "bob"),
    ("c.wav", "dog", "y; x ;y", 10, "anna"),
]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for row in ROWS:
        sound(tmp_path / "set" / str(row[0]))
    return table(tmp_path / "set" / "mine.csv", COLUMNS, ROWS)


def test_one_label_a_clip(index: Path) -> None:
    found = open_index(index, "label", "fold", "who")
    assert [Path(str(sound)).name for sound in found.sounds] == ["a.wav", "b.wav", "c.wav"]
    assert list(found.labels) == [("dog",), ("cat",), ("dog",)] and list(found.classes) == ["cat", "dog"]
    assert list(found.parts) == ["1", "2", "10"] and found.groups == ["anna", "bob", "anna"]
    assert found.name == "set/mine.csv" and not found.multilabel and found.missing == ()


def test_marks_make_it_multi_label(index: Path) -> None:
    found = open_index(index, "tags", "fold")
    assert found.multilabel and list(found.labels) == [("x", "y"), (), ("y", "x")] and found.groups is None


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        sound(tmp_path / name)
    rows = [("a.wav", 9, 1), ("b.wav", 10, 1), ("c.wav", 100, 2)]
    index = table(tmp_path / "i.csv", ("path", "pitch", "split"), rows)
    assert list(open_index(index, "pitch", "split").classes) == ["9", "10", "100"]


def test_parquet(index: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(index), index.with_suffix(".parquet"))
    by_csv, by_parquet = (open_index(path, "label", "fold", "who") for path in (index, index.with_suffix(".parquet")))
    assert [by_csv.sounds, by_csv.labels, by_csv.parts] == [by_parquet.sounds, by_parquet.labels, by_parquet.parts]


def test_several_labels_in_a_run_of_one_label(index: Path) -> None:
    with pytest.raises(AaspError, match=r"column tags: 2 clips have several labels, 'x;y' in row 1; name a column"):
        open_index(index, "tags", "fold", multilabel=False)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("lable", "fold"), "no column 'lable'; did you mean label?"),
        (("label", "part"), "no column 'part'; "),
        (("label", "fold", "speaker"), "no column 'speaker'; "),
    ],
)
def test_a_column_that_is_not_there(index: Path, arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(AaspError) as told:
        open_index(index, *arguments)
    assert complaint in str(told.value) and str(index) in str(told.value)


@pytest.mark.parametrize("column", ["label", "fold", "who"])
def test_a_row_without_its_label_or_part(tmp_path: Path, column: str) -> None:
    row = {"path": "a.wav", "label": "dog", "fold": "1", "who": "anna"}
    index = table(tmp_path / "i.csv", tuple(row), [tuple(row.values()), tuple((row | {column: ""}).values())])
    with pytest.raises(AaspError, match=f"column {column}: 1 of 2 clips have none, the first in row 2"):
        open_index(index, "label", "fold", "who")


def test_a_clip_that_is_trained_on_and_tested_is_said(index: Path) -> None:
    table(index, COLUMNS, [*ROWS, ROWS[0], (*ROWS[0][:3], 2, "anna")])
    found = open_index(index, "label", "fold")
    said = f"1 rows repeat a sound of another part or fold, the first {index.parent / 'a.wav'}"
    assert list(found.notes) == [said] and len(found) == 5


def test_an_index_without_rows(tmp_path: Path) -> None:
    with pytest.raises(AaspError, match="index without rows"):
        open_index(table(tmp_path / "i.csv", COLUMNS, []), "label", "fold")


def gone(index: Path, count: int) -> list[str]:
    """An index of one clip that is there and of others that are not."""
    names = [f"gone/{number}.wav" for number in range(count)]
    table(index, COLUMNS, [*ROWS[:1], *((name, "cat", "", 2, "bob") for name in names)])
    return [str(index.parent / name) for name in names]


def test_files_that_do_not_exist_are_all_listed_and_three_are_shown(index: Path, tmp_path: Path) -> None:
    paths, listed = gone(index, 5), tmp_path / "missing.csv"
    with pytest.raises(AaspError) as told:
        open_index(index, "label", "fold", missing_list=listed)
    said = str(told.value)
    assert f"5 of 6 files do not exist: {', '.join(paths[:3])} and 2 more, all listed in {listed}" in said
    assert paths[3] not in said and "\n" not in said
    with listed.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *([path, "no such file"] for path in paths)]


def test_missing_files_can_be_allowed_but_are_told(index: Path) -> None:
    paths = gone(index, 2)
    found = open_index(index, "label", "fold", "who", allow_missing=True)
    assert len(found) == 1 and [file.path for file in found.missing] == paths
    assert found.groups == ["anna"] and list(found.labels) == [("dog",)]


def test_not_every_file_may_be_missing(tmp_path: Path) -> None:
    index = table(tmp_path / "i.csv", COLUMNS, ROWS)
    with pytest.raises(AaspError, match="3 of 3 files do not exist"):
        open_index(index, "label", "fold", allow_missing=True)


def test_the_way_in_to_each_kind(index: Path, tmp_path: Path) -> None:
    assert open_labelled(index=index, label="label", split="fold", group="who").name == "set/mine.csv"
    esc50(tmp_path / "copy", CLASSES)
    assert open_labelled("esc50", tmp_path / "copy").name == "esc50"
    for label in ("dog", "cat"):
        for number in range(5):
            sound(tmp_path / "zoo" / label / f"{number}.wav")
    assert open_labelled("folder", tmp_path / "zoo").name == "zoo/"


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({}, "name --benchmark NAME --root DIR, or --index FILE"),
        ({"benchmark": "esc50", "index": "i.csv"}, "both --benchmark esc50 and --index i.csv"),
        ({"benchmark": "esc50"}, "--benchmark esc50 without --root"),
        ({"benchmark": "folder"}, "--benchmark folder without --root"),
        ({"benchmark": "esc5", "root": "."}, "did you mean 'esc50'"),
        ({"benchmark": "esc50", "root": ".", "label": "x"}, "--label with --benchmark esc50"),
        ({"index": "i.csv", "split": "x"}, "--index i.csv without --label"),
        ({"index": "i.csv", "label": "x"}, "--index i.csv without --split"),
        ({"index": "i.csv", "label": "x", "split": "y", "root": "."}, "--root . with --index i.csv"),
    ],
)
def test_what_was_not_asked_rightly(asked: dict[str, str], complaint: str) -> None:
    with pytest.raises(AaspError) as told:
        open_labelled(**asked)  # type: ignore[arg-type]
    assert complaint in str(told.value)
