"""Indices of mixtures: their sources, their paths, and groups of mixtures that share a recording."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp.audio.sounds import Ingredient, Mixture, read_sound
from aasp.datasets.benchmarks.mixtures import is_recipe, open_mixtures
from aasp.datasets.benchmarks.open import open_labelled
from aasp.errors import AaspError

HEADER = "id,fold,split,labels,paths,gains_db,offsets_s\n"
ROWS = """m0,1,train,dog;rain,set/1-100-A-0.wav;set/1-200-A-10.wav,-3.0;0.0,0.05;0.0
m1,1,train,dog,set/1-100-B-0.wav,0.0,0.0
m2,2,valid,rain;dog,set/2-300-A-10.wav;set/2-400-A-0.wav,0.0;-9.0,0.0;0.02
m3,3,test,,set/3-500-A-5.wav,0.0,0.0
"""
FILES = ["1-100-A-0", "1-200-A-10", "1-100-B-0", "2-300-A-10", "2-400-A-0", "3-500-A-5"]


@pytest.fixture
def recipe(plant: Callable[..., Path], list_of: Callable[[str, str], None]) -> Path:
    """A recipe inside the folder of the set, as its paths begin with that folder's name."""
    root = plant(*(f"set/{name}.wav" for name in FILES))
    list_of("set/recipe.csv", HEADER + ROWS)
    return root / "set" / "recipe.csv"


def test_a_recipe(recipe: Path) -> None:
    found = open_mixtures(recipe)
    folder = recipe.parent
    assert found.sounds[0] == Mixture(
        (Ingredient(str(folder / "1-100-A-0.wav"), -3.0, 0.05), Ingredient(str(folder / "1-200-A-10.wav"), 0.0, 0.0))
    )
    assert found.labels == [("dog", "rain"), ("dog",), ("rain", "dog"), ()]
    assert found.parts == ["1", "1", "2", "3"]
    assert found.classes == ["dog", "rain"] and found.multilabel and not found.missing
    assert found.groups == ["100", "100", "400", "500"], "recording 100 is in two takes"
    assert found.notes == []
    assert open_mixtures(recipe, split="split").parts == ["train", "train", "valid", "test"]
    assert open_mixtures(recipe, group="id").groups == ["m0", "m1", "m2", "m3"]


def test_every_command_opens_it_as_an_index(recipe: Path) -> None:
    assert is_recipe(recipe)
    found = open_labelled(index=str(recipe), label="labels", split="fold")
    assert found.sounds == open_mixtures(recipe).sounds


def test_an_index_of_files_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("path,label\n")
    assert not is_recipe(tmp_path / "index.csv")
    assert not is_recipe(tmp_path / "absent.csv")
    assert not is_recipe(tmp_path)


def test_mixtures_that_share_a_recording_are_grouped(recipe: Path) -> None:
    more = "m4,1,train,dog,set/1-100-A-0.wav;set/1-200-A-10.wav,0;0,0;0\nm5,2,train,dog,set/1-200-A-10.wav,0,0\n"
    recipe.write_text(HEADER + ROWS + more)
    found = open_mixtures(recipe)
    assert found.groups == ["200", "100", "400", "500", "200", "200"], "both are in three mixtures"
    # in common: m0 m1, m1 m4 (100); m0 m4, m0 m5, m4 m5 (200)
    assert found.notes == [
        "recordings in mixtures of more than one part or fold: 1, the first 200",
        "groups (4) hold 60 % of the pairs of mixtures with a recording in common; intervals may be too narrow",
    ]


def test_missing_files(recipe: Path, tmp_path: Path) -> None:
    (recipe.parent / "1-200-A-10.wav").unlink()
    with pytest.raises(AaspError, match=r"recipe\.csv: 1 of 4 files do not exist: .*1-200-A-10\.wav"):
        open_mixtures(recipe)
    found = open_mixtures(recipe, allow_missing=True, missing_list=tmp_path / "missing.csv")
    assert len(found) == 3 and found.groups == ["100", "400", "500"]
    assert [Path(clip.path).name for clip in found.missing] == ["1-200-A-10.wav"]
    assert "1-200-A-10.wav" in (tmp_path / "missing.csv").read_text()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("m4,1,train,dog,set/1-100-A-0.wav,0;0,0", "line 6: 1 paths, 2 gains, 1 offsets"),
        ("m4,1,train,dog,,,", "line 6: 0 paths, 0 gains, 0 offsets"),
        ("m4,1,train,dog,set/1-100-A-0.wav,loud,0", "line 6: gains 'loud', offsets '0'"),
        ("m4,1,train,dog,set/1-100-A-0.wav,0,nan", "line 6: gains '0', offsets 'nan'"),
        ("m4,1,train,dog,set/1-100-A-0.wav,0", "line 6: 6 values in 7 columns"),
        ("m4,,train,dog,set/1-100-A-0.wav,0,0", "column fold: 1 of 5 clips have none, the first in row 5"),
    ],
)
def test_a_bad_row_is_one_line(recipe: Path, row: str, message: str) -> None:
    recipe.write_text(HEADER + ROWS + row + "\n")
    with pytest.raises(AaspError) as error:
        open_mixtures(recipe)
    assert message in str(error.value) and "recipe.csv" in str(error.value) and "\n" not in str(error.value)


def test_absent_files_and_columns(recipe: Path) -> None:
    with pytest.raises(AaspError, match="no such file"):
        open_mixtures(recipe.with_name("absent.csv"))
    with pytest.raises(AaspError, match="no column part"):
        open_mixtures(recipe, split="part")
    recipe.write_text(HEADER)
    with pytest.raises(AaspError, match="without rows"):
        open_mixtures(recipe)


def test_the_recipe_of_esc10_is_mixed_as_it_says(data_root: Path) -> None:
    source = data_root / "esc10" / "multilabel_recipe.csv"
    found = open_labelled(index=source, label="labels", split="fold")
    assert len(found) == 600 and len(found.classes) == 10 and not found.missing
    assert sorted(set(found.parts)) == ["1", "2", "3", "4", "5"]
    assert not any("more than one part or fold" in note for note in found.notes)
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for place in (0, 1, 7, 599):
        row = rows[place]
        wanted = np.zeros(80_000)
        columns = (row[name].split(";") for name in ("paths", "gains_db", "offsets_s"))
        for path, gain, offset in zip(*columns, strict=True):
            wave, rate = soundfile.read(data_root / path)
            assert rate == 16_000
            late = round(float(offset) * rate)
            wanted += wave[(np.arange(80_000) - late) % 80_000] * 10 ** (float(gain) / 20)
        assert np.allclose(read_sound(found.sounds[place]), wanted, atol=1e-6)
        assert sorted(found.labels[place]) == sorted(row["labels"].split(";"))


def test_no_recording_of_esc10_is_in_two_folds(data_root: Path) -> None:
    """That its folds are disjoint: read from the sources, not from our groups."""
    with (data_root / "esc10" / "index.csv").open(newline="") as file:
        recording = {f"esc10/{row['path']}": row["src_file"] for row in csv.DictReader(file)}
    folds: dict[str, set[str]] = {}
    with (data_root / "esc10" / "multilabel_recipe.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for path in row["paths"].split(";"):
                folds.setdefault(recording[path], set()).add(row["fold"])
    assert max(map(len, folds.values())) == 1
    found = open_mixtures(data_root / "esc10" / "multilabel_recipe.csv")
    assert set(found.groups) <= set(recording.values())
