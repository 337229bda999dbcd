"""Changed inputs are refused: data, sets and clips are known by hashes; folders of earlier versions get them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasp.compare.folder import Folder
from aasp.compare.inputs import Given, Inputs, data_given, measured_clips_hash, set_hash
from aasp.compare.readings import open_readings
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError

SETS = {"words": Given("w:label:split", "1")}
INPUTS = Inputs(Given("sounds", "d"), SETS, Given("clips:speaker", "s"))


def sound(path: Path, seconds: float = 0.1, level: float = 0.1) -> str:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.full(round(16_000 * seconds), level), 16_000)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A comparison with these inputs."""
    made = Folder(tmp_path / "out", "comparison")
    made.write_settings({"budget": "8 steps", "data": "sounds", **INPUTS.joined(made)})
    return made


def test_equal_inputs_are_accepted_and_others_added(folder: Folder) -> None:
    stored = {name: value for name, value in folder.settings.items() if name not in ("budget", "data")}
    assert INPUTS.joined(folder) == stored
    fewer = Inputs(INPUTS.data, {"more": Given("m:label:split", "2")})
    joined = fewer.joined(folder)
    assert joined["set_hashes"] == {"words": "1", "more": "2"} and joined["stability"] == stored["stability"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": Given("sounds", "e")}, "--data sounds: its files have changed since .*; restore them"),
        ({"sets": {"words": Given("w:label:split", "2")}}, "--benchmarks w:label:split: its clips, labels, .* changed"),
        ({"sets": {"words": Given("v:label:split", "1")}}, "has measured w:label:split as words; choose another --out"),
        (
            {"stability": Given("clips", "t")},
            "--stability clips: .* other clips or groups as clips:speaker; give the same",
        ),
    ],
)
def test_changed_inputs_are_refused(folder: Folder, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(AaspError, match=message):
        replace(INPUTS, **changed).joined(folder)


def test_hashes_that_an_earlier_version_did_not_store_are_filled_in(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "comparison")
    folder.write_settings({"budget": "8 steps", "data": "sounds", "sets": {"words": "w:label:split"}})
    joined = INPUTS.joined(folder)
    assert joined["data_hash"] == "d" and joined["set_hashes"] == {"words": "1"}
    assert joined["stability"] == {"word": "clips:speaker", "hash": "s"}
    # The runs of earlier versions recorded a hash of their data.
    record = tmp_path / "cells" / "a" / "seed-0" / "environment.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps([{"contents": "other"}]))
    with pytest.raises(AaspError, match="--data sounds: its files have changed"):
        INPUTS.joined(folder)


def test_whatever_is_measured_changes_a_sets_hash(tmp_path: Path) -> None:
    sounds = [sound(tmp_path / f"{n}.wav") for n in range(4)]
    labels, parts = [("a",), ("b",)] * 2, ["train", "train", "test", "test"]
    one = LabelledSet("set", "index", sounds, labels, parts, ["a", "b"], ["x", "x", "y", "y"])
    hashes = [set_hash(one)]
    for changed in (
        {"labels": [("b",), ("a",)] * 2},
        {"parts": ["test", "test", "train", "train"]},
        {"groups": ["x", "y", "x", "y"]},
        {"groups": None},
        {"sounds": [*sounds[:3], sound(tmp_path / "longer.wav", 0.2)]},
        {"sounds": [*sounds[:3], sound(tmp_path / "louder.wav", level=0.5)]},
    ):
        hashes.append(set_hash(replace(one, **changed)))
    assert len(set(hashes)) == len(hashes) and set_hash(replace(one, source="elsewhere")) == hashes[0]
    of = lambda groups, count=4: measured_clips_hash(sounds[:count], groups)
    assert of(None) != of(["x", "x", "y", "y"]) != of(None, 3)


def test_changed_training_data_change_its_hash(tmp_path: Path) -> None:
    sound(tmp_path / "data" / "0.wav")
    before = data_given(tmp_path / "data")
    assert before == data_given(tmp_path / "data") and before.word == str(tmp_path / "data")
    sound(tmp_path / "data" / "0.wav", level=0.5)
    assert data_given(tmp_path / "data").hash != before.hash


def test_sets_that_would_share_a_file_are_refused(tmp_path: Path, folder: Folder) -> None:
    """ "tones pitch" is the column pitch of the folder tones, and tones-pitch another folder."""
    for name in ("tones", "tones-pitch", "modulations"):
        rows = [
            f"{sound(tmp_path / name / f'{n}.wav')},{n % 2},{n % 2},{'test' if n > 1 else 'train'}" for n in range(4)
        ]
        (tmp_path / name / "index.csv").write_text("\n".join(["path,pitch,label,split", *rows]))
    words = [f"{tmp_path}/tones/index.csv:pitch:split", f"{tmp_path}/tones-pitch/index.csv:label:split"]
    for some in (words, words[::-1]):
        with pytest.raises(AaspError, match="would share a file of scores; rename the folder of one index"):
            open_readings(some, tmp_path, False)
        assert len(open_readings(some[:1], tmp_path, False)) == 1
    with pytest.raises(AaspError, match="called modulations, as the generated set is; rename its folder"):
        open_readings([f"{tmp_path}/modulations/index.csv:label:split"], tmp_path, False)
    Inputs(INPUTS.data, {"tones pitch": Given("p", "1")}).joined(folder)
    folder.write_settings({**folder.settings, "sets": {"tones pitch": "p"}})
    with pytest.raises(AaspError, match=r"'tones-pitch' and 'tones pitch' .* would share a file"):
        Inputs(INPUTS.data, {"tones-pitch": Given("q", "1")}).joined(folder)
