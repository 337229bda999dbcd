"""A user's index, and `open_labelled`, which opens all labelled data."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from trees import esc50, sound, table

from aasp.datasets.benchmarks.esc50 import CLASSES
from aasp.datasets.benchmarks.index import open_index
from aasp.datasets.benchmarks.open import open_labelled
from aasp.datasets.labelled import ordered
from aasp.datasets.manifest import Manifest
from aasp.errors import AaspError
from aasp.evaluate.task import Task
from packed import flac, parquet, tar

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
    assert found.name == found.task_name == "set/mine.csv" and not found.multilabel and found.missing == ()


def test_marks_make_it_multi_label(index: Path) -> None:
    found = open_index(index, "tags", "fold")
    assert found.multilabel and list(found.labels) == [("x", "y"), (), ("y", "x")] and found.groups is None
    assert found.task_name == "set/mine.csv tags", "another task than the same index's label, in tables too"


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        sound(tmp_path / name)
    rows = [("a.wav", 9, 1), ("b.wav", 10, 1), ("c.wav", 100, 2)]
    index = table(tmp_path / "i.csv", ("path", "pitch", "split"), rows)
    assert list(open_index(index, "pitch", "split").classes) == ["9", "10", "100"]


def test_numbers_written_in_two_ways_have_one_order() -> None:
    assert ordered(["01", "1", "-2", "1"]) == ordered(["1", "1", "-2", "01"]) == ["-2", "01", "1", "1"]
    assert ordered(["9", "--5", "10"]) == ["--5", "10", "9"], "as text"
    assert ordered(["9" * 5000, "1"]) == ["1", "9" * 5000]


LISTS = [["x", "y"], [], ["y"]]


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.string()])
def test_lists_of_strings_are_labels(index: Path, kind: pa.DataType) -> None:
    listed = LISTS if not pa.types.is_string(kind) else [";".join(one) for one in LISTS]
    columns = {"path": [row[0] for row in ROWS], "tags": pa.array(listed, kind), "fold": [1, 2, 2]}
    pyarrow.parquet.write_table(pa.table(columns), index.with_suffix(".parquet"))
    found = open_index(index.with_suffix(".parquet"), "tags", "fold")
    assert found.multilabel and list(found.labels) == [("x", "y"), (), ("y",)] and list(found.classes) == ["x", "y"]


@pytest.mark.parametrize("values", [[[1], [2], [1, 2]], [{"name": "dog"}] * 3, [[["x"]], [["y"]], []]])
def test_other_nested_labels_are_refused(index: Path, values: list) -> None:
    columns = {"path": [row[0] for row in ROWS], "tags": values, "fold": [1, 2, 2]}
    pyarrow.parquet.write_table(pa.table(columns), index.with_suffix(".parquet"))
    with pytest.raises(AaspError, match=r"column tags: its values are of (list|struct).*; write numbers, text or"):
        open_index(index.with_suffix(".parquet"), "tags", "fold")


def test_sounds_in_shards_parquet_files_and_stores(tmp_path: Path) -> None:
    tar(tmp_path / "s.tar", *((f"{number}.flac", flac(number)) for number in range(2)))
    parquet(tmp_path / "p.parquet", [2, 3])
    paths = [*Manifest.open(tmp_path / "s.tar")[0].paths, *Manifest.open(tmp_path / "p.parquet")[0].paths]
    paths = [path.removeprefix(f"{tmp_path}/") for path in paths]
    paths += ["s3://bucket/x.wav", "s3://bucket/x.tar#512+99/k.wav"]
    rows = [(path, "ab"[row % 2], row // 2 + 1) for row, path in enumerate(paths)]
    found = open_index(table(tmp_path / "i.csv", ("path", "label", "fold"), rows), "label", "fold")
    assert found.sounds == [path if "://" in path else f"{tmp_path}/{path}" for path in paths] and not found.notes
    (tmp_path / "s.tar").unlink()
    with pytest.raises(AaspError, match=r"2 of 6 files do not exist: .*s.tar#"):
        open_index(tmp_path / "i.csv", "label", "fold")
    assert len(open_index(tmp_path / "i.csv", "label", "fold", allow_missing=True)) == 4


@pytest.mark.parametrize("name", ["s.tar", "p.parquet"])
@pytest.mark.parametrize("again", ["same", "link", "hard", "folder", "other crc and name"])
def test_one_sound_of_a_larger_file_in_two_parts_is_refused(tmp_path: Path, name: str, again: str) -> None:
    tar(tmp_path / "s.tar", *((f"{number}.flac", flac(number)) for number in range(4)))
    parquet(tmp_path / "p.parquet", list(range(4)))
    (tmp_path / f"link{name}").symlink_to(name)
    (tmp_path / f"hard{name}").hardlink_to(tmp_path / name)
    (tmp_path / "folder").symlink_to(tmp_path)
    paths = [path.removeprefix(f"{tmp_path}/") for path in Manifest.open(tmp_path / name)[0].paths]
    other = {"same": paths[0], "folder": f"folder/{paths[0]}"}.get(again, f"{again}{paths[0]}")
    if "crc" in again:
        other = paths[0].rpartition("/")[0] + "+00000000" * (name == "s.tar") + "/other.flac"
    rows = [(paths[0], "a", "train"), (paths[1], "b", "train"), (paths[2], "a", "test"), (paths[3], "b", "test")]
    found = open_index(table(tmp_path / "i.csv", ("path", "label", "split"), rows), "label", "split")
    assert len(Task.of(found, choose="held_out").test) == 2
    rows[2] = (other, "a", "test")
    found = open_index(table(tmp_path / "i.csv", ("path", "label", "split"), rows), "label", "split")
    with pytest.raises(AaspError, match="what is trained on can't be tested"):
        Task.of(found, choose="held_out")


def test_parquet(index: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(index), index.with_suffix(".parquet"))
    by_csv, by_parquet = (open_index(path, "label", "fold", "who") for path in (index, index.with_suffix(".parquet")))
    assert [by_csv.sounds, by_csv.labels, by_csv.parts] == [by_parquet.sounds, by_parquet.labels, by_parquet.parts]


def test_several_labels_in_a_run_of_one_label(index: Path) -> None:
    with pytest.raises(AaspError, match=r"column tags: 2 clips have several labels, 'x;y' in row 1; name a column"):
        open_index(index, "tags", "fold", multilabel=False)


@pytest.mark.parametrize("mark", ["['a', 'b']", "a,b", "a | b"])
def test_several_labels_without_the_separator_are_no_class(tmp_path: Path, mark: str) -> None:
    rows = [("1.wav", "a", "train"), ("2.wav", "b", "test"), ("3.wav", mark, "train")]
    for path, *_ in rows:
        (tmp_path / path).touch()
    file = table(tmp_path / "i.csv", ("path", "label", "split"), rows)
    with pytest.raises(AaspError, match=r"in row 3 looks like several labels; separate them by ;"):
        open_index(file, "label", "split")
    assert open_index(file, "label", "split", multilabel=False).classes == sorted({"a", "b", mark})


def test_a_comma_or_brackets_within_a_label_separate_nothing(tmp_path: Path) -> None:
    rows = [("1.wav", "Speech, child", "train"), ("2.wav", "[noise]", "test")]
    for path, *_ in rows:
        (tmp_path / path).touch()
    assert len(open_index(table(tmp_path / "i.csv", ("path", "label", "split"), rows), "label", "split").classes) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("lable", "fold"), "no column 'lable'; did you mean label?"),
        (("label", "part"), "no column 'part'; "),
        (("label", "fold", "speaker"), "no column 'speaker'; "),
    ],
)
def test_a_column_that_is_not_there(index: Path, arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(AaspError) as error:
        open_index(index, *arguments)
    assert complaint in str(error.value) and str(index) in str(error.value)


@pytest.mark.parametrize("column", ["label", "fold", "who"])
def test_a_row_without_its_label_or_part(tmp_path: Path, column: str) -> None:
    row = {"path": "a.wav", "label": "dog", "fold": "1", "who": "anna"}
    index = table(tmp_path / "i.csv", tuple(row), [tuple(row.values()), tuple((row | {column: ""}).values())])
    with pytest.raises(AaspError, match=f"column {column}: 1 of 2 clips have none, the first in row 2"):
        open_index(index, "label", "fold", "who")


def split_of(folder: Path, parts: Sequence[object], column: str = "split") -> Path:
    """An index of so many clips of two classes."""
    made = [(sound(folder / f"{row}.wav").name, "ab"[row % 2], part) for row, part in enumerate(parts)]
    return table(folder / "i.csv", ("path", "label", column), made)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"), ("Train", "Test"), ("TRAIN", "TEST"), ("training", "testing"), ("dev", "eval"),
        ("train ", "test "), ("train", "eval"), ("dev", "test"), ("trainset", "test_set"),
    ],
)  # fmt: skip
def test_the_test_part_is_tested_once_and_never_trained_on(tmp_path: Path, train: str, test: str) -> None:
    found = open_index(split_of(tmp_path, [train] * 14 + [test] * 6), "label", "split")
    assert list(found.parts) == ["train"] * 14 + ["test"] * 6
    (only,) = Task.of(found, choose="next_fold").rounds
    assert only.test.tolist() == [*range(14, 20)] and only.refit.tolist() == [*range(14)]


def test_dev_chooses_beside_train(tmp_path: Path) -> None:
    found = open_index(split_of(tmp_path, ["train"] * 4 + ["dev"] * 2 + ["test"] * 2), "label", "split")
    assert list(found.parts) == ["train"] * 4 + ["valid"] * 2 + ["test"] * 2


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        ("split", ["train", "1", "2", "2"], "column split: neither parts nor folds: '2' × 2, 'train' × 1, '1' × 1"),
        ("split", ["train", "train", "trial", "trial"], "neither parts nor folds: 'train' × 2, 'trial' × 2"),
        (
            "split",
            ["in", "in", "out", "out"],
            "neither parts nor folds: 'in' × 2, 'out' × 2; use train, valid and test",
        ),
        ("split", ["nan", "train", "test", "test"], "neither parts nor folds"),
        ("split", [True, True, False, False], "neither parts nor folds: 'True' × 2, 'False' × 2"),
        ("is_test", [0, 0, 1, 1], "column is_test: 0, 1 name one part only; make a column of train and test"),
        ("test", [0, 0, 1, 1], "column test: 0, 1 name one part only"),
        ("split", [0.3, 0.4, 0.3, 0.4], "neither parts nor folds: '0.3' × 2, '0.4' × 2"),
        ("split", ["train", "dev", "val", "test"], "are ambiguous"),
        ("split", ["train", "train", "", "test"], "column split: 1 of 4 clips have none, the first in row 3"),
    ],
)
def test_a_column_that_is_no_split_is_refused_with_what_was_found(
    tmp_path: Path, column: str, values: list, complaint: str
) -> None:
    index = split_of(tmp_path, values, column)
    with pytest.raises(AaspError) as error:
        open_index(index, "label", column)
    assert complaint in str(error.value) and str(index) in str(error.value) and "; " in str(error.value)


@pytest.mark.parametrize(
    "values", [["train"] * 4, ["valid"] * 4, ["1"] * 4, ["1", "1.0", "01", " 1"], ["dev", "DEV"] * 2]
)
def test_a_split_of_one_value_makes_no_task(tmp_path: Path, values: list[str]) -> None:
    with pytest.raises(AaspError, match=r"no clip is in part|a single fold"):
        Task.of(open_index(split_of(tmp_path, values), "label", "split"), choose="next_fold")


def test_folds_that_a_frame_has_made_floats(tmp_path: Path) -> None:
    names = [sound(tmp_path / f"{row}.wav").name for row in range(4)]
    columns = {"path": names, "label": ["a", "b", "a", "b"], "split": [1.0, 1.0, 2.0, 2.0]}
    pa.parquet.write_table(pa.table(columns), tmp_path / "i.parquet")
    assert list(open_index(tmp_path / "i.parquet", "label", "split").parts) == ["1", "1", "2", "2"]
    pa.parquet.write_table(pa.table(columns | {"split": [1.0, 2.0, float("nan"), None]}), tmp_path / "i.parquet")
    with pytest.raises(AaspError, match="column split: 2 of 4 clips have none, the first in row 3"):
        open_index(tmp_path / "i.parquet", "label", "split")


def test_folds_of_any_name_go_by_the_column(tmp_path: Path) -> None:
    found = open_index(split_of(tmp_path, ["anna", "anna", "bob", "bob"], "fold"), "label", "fold")
    assert list(found.parts) == ["anna", "anna", "bob", "bob"]
    index = split_of(tmp_path, ["anna", "anna", "bob", "bob"], "who")
    assert list(open_index(index, "label", "who", "who").parts) == ["anna", "anna", "bob", "bob"]
    with pytest.raises(AaspError, match="folds of any name go into a column called fold"):
        open_index(index, "label", "who")


@pytest.mark.parametrize("again", ["0.wav", "./0.wav", "sub/../0.wav", "link.wav", "hard.wav", "folder/0.wav", "FULL"])
def test_a_file_in_two_parts_is_refused(tmp_path: Path, again: str) -> None:
    split_of(tmp_path, ["train", "train", "test", "test"])
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.wav").symlink_to("0.wav")
    (tmp_path / "hard.wav").hardlink_to(tmp_path / "0.wav")
    (tmp_path / "folder").symlink_to(tmp_path)
    again = again.replace("FULL", str(tmp_path / "0.wav"))
    for part, other in (("train", "test"), ("1", "2")):
        rows = [("0.wav", "a", part), ("1.wav", "b", part), (again, "a", other), ("3.wav", "b", other)]
        found = open_index(table(tmp_path / "i.csv", ("path", "label", "split"), rows), "label", "split")
        assert [note.partition(",")[0] for note in found.notes] == ["rows that repeat a sound: 1"]
        with pytest.raises(AaspError) as error:
            Task.of(found, choose="next_fold")
        assert f"{tmp_path}/0.wav is in {part!r}" in str(error.value) and f"in {other!r}" in str(error.value)
        assert "what is trained on can't be tested" in str(error.value) and "\n" not in str(error.value)


def test_rows_that_repeat_a_file_of_their_part_are_noted(tmp_path: Path) -> None:
    split_of(tmp_path, ["train"] * 4 + ["test"] * 2)
    rows = [(f"{row}.wav", "ab"[row % 2], "train" if row < 4 else "test") for row in range(6)]
    rows += [rows[0], ("./1.wav", "a", "train")]
    found = open_index(table(tmp_path / "i.csv", ("path", "label", "split"), rows), "label", "split")
    first = f"the first {tmp_path}/0.wav in 'train', as before in 'train'"
    assert list(found.notes) == [f"rows that repeat a sound: 2, {first}; 1 under another label"] and len(found) == 8


def test_rows_that_repeat_a_file_are_held_out_together(tmp_path: Path) -> None:
    rows = [(sound(tmp_path / f"{row % 10}.wav").name, "ab"[row % 2], "train") for row in range(40)]
    rows += [(sound(tmp_path / f"{row}.wav").name, "ab"[row % 2], "test") for row in (20, 21)]
    found = open_index(table(tmp_path / "i.csv", ("path", "label", "split"), rows), "label", "split")
    (only,) = Task.of(found, choose="held_out").rounds
    train, valid = ({found.sounds[row] for row in part} for part in (only.train, only.valid))
    assert train.isdisjoint(valid) and len(only.valid) == 4


def test_a_row_without_a_path(tmp_path: Path) -> None:
    index = table(tmp_path / "i.csv", COLUMNS, [ROWS[0], ("", *ROWS[1][1:])])
    with pytest.raises(AaspError, match="column path: 1 of 2 clips have none, the first in row 2"):
        open_index(index, "label", "fold")


def test_the_column_of_paths_can_be_named(tmp_path: Path) -> None:
    rows = [(sound(tmp_path / f"{row}.wav").name, "ab"[row % 2], row // 2) for row in range(4)]
    index = table(tmp_path / "i.csv", ("file", "label", "fold"), rows)
    found = open_labelled(index=index, label="label", split="fold", path_column="file")
    assert found.sounds == [str(tmp_path / f"{row}.wav") for row in range(4)]
    with pytest.raises(AaspError, match="--path-column file"):
        open_labelled(index=index, label="label", split="fold")
    with pytest.raises(AaspError, match="--path-column with --benchmark folder"):
        open_labelled("folder", tmp_path, path_column="file")


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
    with pytest.raises(AaspError) as error:
        open_index(index, "label", "fold", missing_list=listed)
    message = str(error.value)
    assert f"5 of 6 files do not exist: {', '.join(paths[:3])} and 2 more, all listed in {listed}" in message
    assert paths[3] not in message and "\n" not in message
    with listed.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["path", "reason"], *([path, "no such file"] for path in paths)]


def test_missing_files_can_be_allowed_and_are_listed(index: Path) -> None:
    paths = gone(index, 2)
    found = open_index(index, "label", "fold", "who", allow_missing=True)
    assert len(found) == 1 and [file.path for file in found.missing] == paths
    assert found.groups == ["anna"] and list(found.labels) == [("dog",)]


def test_not_every_file_may_be_missing(tmp_path: Path) -> None:
    index = table(tmp_path / "i.csv", COLUMNS, ROWS)
    with pytest.raises(AaspError, match="3 of 3 files do not exist"):
        open_index(index, "label", "fold", allow_missing=True)


def test_open_labelled_opens_each_kind(index: Path, tmp_path: Path) -> None:
    assert open_labelled(index=index, label="label", split="fold", group="who").name == "set/mine.csv"
    esc50(tmp_path / "copy", CLASSES)
    assert open_labelled("esc50", tmp_path / "copy").name == "esc50"
    for label in ("dog", "cat"):
        for number in range(5):
            sound(tmp_path / "zoo" / label / f"{number}.wav")
    assert open_labelled("folder", tmp_path / "zoo").name == "zoo/"


@pytest.mark.parametrize(
    ("options", "complaint"),
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
def test_options_that_do_not_go_together(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(AaspError) as error:
        open_labelled(**options)  # type: ignore[arg-type]
    assert complaint in str(error.value)
