"""Surge: presets, notes, and our own split where the list is missing."""

from __future__ import annotations

import os

import pytest

from aasp.datasets.benchmarks.surge import SURGE
from aasp.errors import AaspError

SPLIT = "tone,split\nBass-velocity64,train\nPad-velocity64,valid\nLead-velocity64,test\n"
PRESETS = ["Bass-velocity64", "Pad-velocity64", "Lead-velocity64"]


def test_a_copy(plant, list_of) -> None:
    list_of("dataset_surge_tone_splits.csv", SPLIT)
    root = plant(*(f"{preset}/{note}.ogg" for preset in PRESETS for note in range(21, 109)))
    found = SURGE.open(root)
    assert len(found) == 3 * 88 and not found.missing
    clips = dict(zip((os.path.relpath(str(path), root) for path in found.sounds), range(len(found)), strict=True))
    row = clips["Pad-velocity64/21.ogg"]
    assert (found.labels[row], found.parts[row], found.groups[row]) == (("21",), "valid", "Pad-velocity64")
    assert found.classes[0] == "21" and found.classes[-1] == "108" and len(found.classes) == 88
    assert found.notes == [
        "part train: 88 clips, published 148,896",
        "part valid: 88 clips, published 17,160",
        "part test: 88 clips, published 17,336",
    ]


def test_notes_that_are_not_there_are_missing(plant, list_of) -> None:
    list_of("dataset_surge_tone_splits.csv", SPLIT)
    found = SURGE.read(plant("Bass-velocity64/midi-060.wav", "Lead-velocity64/108.ogg"))
    assert found.labels == [("60",), ("108",)]
    assert len(found.missing) == 3 * 88 - 2


def test_without_the_list_presets_are_divided_and_a_note_says_so(plant) -> None:
    presets = [f"preset-{number}" for number in range(40)]
    root = plant(*(f"{preset}/60.ogg" for preset in presets))
    (root / "notes").mkdir()
    found = SURGE.read(root)
    assert "our own split" in found.notes[0] and "not comparable" in found.notes[0]
    part_of = dict(zip(found.groups, found.parts, strict=True))
    assert set(part_of) == set(presets) and set(part_of.values()) == {"train", "valid", "test"}
    more = SURGE.read(plant("preset-new/60.ogg"))
    moved = {preset: part for preset, part in zip(more.groups, more.parts, strict=True) if preset in part_of}
    assert moved == part_of, "a further preset leaves the others where they are"


def test_bad_input(plant, list_of) -> None:
    list_of("dataset_surge_tone_splits.csv", SPLIT + "Kick,trial\n")
    with pytest.raises(AaspError, match=r"tone_splits\.csv, line 5: split 'trial' is not train, valid or test"):
        SURGE.open(plant("Bass-velocity64/60.ogg"))
    list_of("dataset_surge_tone_splits.csv", SPLIT)
    with pytest.raises(AaspError, match=r"Bass-velocity64/20\.ogg: its name does not end in a MIDI note"):
        SURGE.open(plant("Bass-velocity64/20.ogg"))


def test_a_wrong_root(plant) -> None:
    with pytest.raises(AaspError, match="surge: no clips"):
        SURGE.open(plant("60.ogg"))
