"""Records come back as they were written; each result has one value; a folder is searched for results files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from aasp import __version__
from aasp.errors import AaspError
from aasp.evaluate.records import Record, code_version, find_records, read_records, write_records

ONE = Record(
    system="tiny",
    model="runs/tiny",
    model_hash="a1b2",
    recipe="evar",
    recipe_hash="c3d4",
    benchmark="esc50",
    protocol="linear",
    split="1",
    seed=0,
    metric="accuracy",
    value=0.8125,
    clips=400,
    missing=0,
    version="0.1.0",
    details={"layer": 6},
)


def test_a_record_comes_back(tmp_path: Path) -> None:
    write_records(tmp_path / "results.json", [ONE, replace(ONE, split="2", low=0.7, high=0.9)], notes=["ä"])
    assert read_records(tmp_path / "results.json") == [ONE, replace(ONE, split="2", low=0.7, high=0.9)]
    assert json.loads((tmp_path / "results.json").read_text())["notes"] == ["ä"]


def test_a_folder_is_searched(tmp_path: Path) -> None:
    write_records(tmp_path / "b" / "results.json", [ONE])
    write_records(tmp_path / "a.json", [replace(ONE, seed=1)])
    (tmp_path / "b" / "config.json").write_text('{"width": 8}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / ".results.1.tmp.json").write_text('{"rec')  # another process is writing it
    assert [record.seed for record in find_records([tmp_path])] == [1, 0]


def test_the_same_record_twice_counts_once(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write_records(tmp_path / name, [ONE])
    assert find_records([tmp_path, tmp_path / "a.json"]) == [ONE]


@pytest.mark.parametrize("change", [{"value": 0.8}, {"clips": 399}, {"missing": 1}])
def test_two_values_of_one_result_are_refused(tmp_path: Path, change: dict[str, float]) -> None:
    write_records(tmp_path / "a.json", [ONE])
    write_records(tmp_path / "b.json", [replace(ONE, **change)])
    with pytest.raises(
        AaspError, match=r"tiny on esc50, linear, split 1, seed 0.*a\.json.*b\.json; leave one"
    ) as error:
        find_records([tmp_path])
    assert "\n" not in str(error.value)


APART = ("system", "model_hash", "recipe", "recipe_hash", "benchmark", "protocol", "split", "metric")


@pytest.mark.parametrize("change", [*({name: "x"} for name in APART), {"seed": 1}], ids=str)
def test_results_that_differ_in_one_field_are_separate(tmp_path: Path, change: dict[str, object]) -> None:
    write_records(tmp_path / "a.json", [ONE])
    write_records(tmp_path / "b.json", [replace(ONE, value=0.5, **change)])
    assert len(find_records([tmp_path])) == 2


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"records": [{"sys')
    (tmp_path / "other.json").write_text('{"width": 8}')
    (tmp_path / "lacks.json").write_text('{"records": [{"system": "tiny"}]}')
    (tmp_path / "empty").mkdir()
    for name, message in [
        ("cut.json", "cut.json: not readable as JSON"),
        ("gone.json", "no such results file: .*gone.json"),
        ("other.json", "other.json: holds no records"),
        ("lacks.json", "lacks.json: record 0: has no model, "),
        ("empty", "empty: no records found"),
    ]:
        with pytest.raises(AaspError, match=message):
            find_records([tmp_path / name])


def test_the_version_names_the_commit_in_a_checkout() -> None:
    assert re.fullmatch(re.escape(__version__) + r"(\+g[0-9a-f]{7})?", code_version())
