"""Settings of an ablation are found once; other ones are refused, and those of earlier versions filled in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aasp.aliasing.ablation import settings, suite
from aasp.aliasing.ablation.settings import Length, resolve
from aasp.aliasing.ablation.suite import Cell, Suite
from aasp.compare.folder import Folder
from aasp.compare.inputs import Given, Inputs
from aasp.compare.shared_settings import TrainingOptions
from aasp.errors import AaspError

SUITE = Suite("toy", "a toy", (Cell("full", "all"), Cell("conv", "AaPE?", {"model.stem": "conv"}, "full")))
INPUTS = Inputs(Given("sounds", "d"), {"words": Given("w:label:split", "1")})


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every step takes half a second; which precisions were timed."""
    found: list[str] = []

    def half(recipe: object, precision: str, device: str) -> float:
        found.append(precision)
        return 0.5

    monkeypatch.setattr(suite, "seconds_per_step", half)
    yield found
    torch.set_num_threads(1)


def started(folder: Folder, inputs: Inputs = INPUTS, cells: Suite = SUITE, **length: Any) -> dict[str, Any]:
    return resolve(folder, cells, 2, Length(**length), TrainingOptions("fp32", None, "cpu"), inputs)


def test_a_budget_is_timed_once(tmp_path: Path, timed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Folder(tmp_path / "out")
    found = started(folder, budget=1.0)
    assert (found["steps"], found["budget"], found["precision"], timed) == (30, 1.0, "fp32", ["fp32", "fp32"])
    assert (
        found == folder.settings and found["set_hashes"] == {"words": "1"} and list(found["cells"]) == ["full", "conv"]
    )
    for length in ({"budget": 1.0}, {"steps": 30}, {}):
        assert started(folder, **length) == found
    assert timed == ["fp32", "fp32"] and f"30 steps each, as in {folder.path}" in capsys.readouterr().out
    with pytest.raises(AaspError, match=r"--budget 2: .* has 30 steps each, of --budget 1; leave --budget out"):
        started(folder, budget=2.0)
    with pytest.raises(AaspError, match="has steps = 30, this one 31; choose another --out"):
        started(folder, steps=31)
    counted = Folder(tmp_path / "counted")
    started(counted, steps=7)
    with pytest.raises(AaspError, match=r"--budget 2: .* has 7 steps each, of --steps 7; leave --budget out"):
        started(counted, budget=2.0)


def test_a_budget_of_less_than_a_step_is_refused(tmp_path: Path, timed: list[str]) -> None:
    with pytest.raises(AaspError, match=r"--budget 0\.01: a step of each of 2 cells × 2 seeds takes 0\.033 minutes"):
        started(Folder(tmp_path / "out"), budget=0.01)
    assert not (tmp_path / "out").exists()


def test_another_process_that_starts_at_once_waits(
    tmp_path: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, locked = Folder(tmp_path / "out"), Folder.setup_lock

    def late(self: Folder) -> Any:
        monkeypatch.setattr(Folder, "setup_lock", locked)
        started(folder, budget=1.0)
        monkeypatch.setattr(suite, "seconds_per_step", lambda *_: 0.25)
        return locked(self)

    monkeypatch.setattr(Folder, "setup_lock", late)
    assert started(folder, budget=1.0)["steps"] == 30


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": replace(INPUTS, data=Given("sounds", "e"))}, "--data sounds: its files have changed"),
        (
            {"inputs": replace(INPUTS, sets={"words": Given("w:label:split", "2")})},
            "labels, parts or groups have chang",
        ),
        ({"cells": replace(SUITE, cells=(Cell("full", "all", {"data.batch": "3"}),))}, "a cell full with other fields"),
    ],
)
def test_changed_inputs_and_cells_are_refused(
    tmp_path: Path, timed: list[str], changed: dict[str, Any], message: str
) -> None:
    folder = Folder(tmp_path / "out")
    before = started(folder, steps=7)
    with pytest.raises(AaspError, match=message):
        started(folder, **{"steps": 7, **changed})
    assert folder.settings == before


def test_other_precisions_and_threads_are_refused(tmp_path: Path, timed: list[str]) -> None:
    folder = Folder(tmp_path / "out")
    started(folder, steps=7)
    for options, message in (
        (TrainingOptions("bf16", None, "cpu"), "precision = fp32, this one bf16"),
        (TrainingOptions("auto", 3, "cpu"), "threads = 1, this one 3"),
    ):
        with pytest.raises(AaspError, match=message):
            resolve(folder, SUITE, 2, Length(), options, INPUTS)
    assert resolve(folder, SUITE, 2, Length(), TrainingOptions("auto", None, "cpu"), INPUTS)["precision"] == "fp32"


def test_an_earlier_folder_is_accepted_and_filled_in(tmp_path: Path, timed: list[str]) -> None:
    """Its runs recorded precision, threads and a hash of the data; the budget of its steps is not known."""
    folder = Folder(tmp_path)
    folder.write_settings({"recipe": settings.RECIPE, "steps": 7, "data": "sounds"})
    record = tmp_path / "cells" / "full" / "seed-0" / "environment.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps([{"contents": "d", "precision": "bf16", "threads": 2}]))
    with pytest.raises(AaspError, match="has precision = bf16, this one fp32"):
        started(folder, budget=1.0)
    found = resolve(folder, SUITE, 2, Length(budget=1.0), TrainingOptions("auto", None, "cpu"), INPUTS)
    assert (found["steps"], found["precision"], found["threads"]) == (7, "bf16", 2) and "budget" not in found
    assert (found["data_hash"], found["sets"]) == ("d", {"words": "w:label:split"}) and not timed
    assert set(found["cells"]) == {"full", "conv"} and found == folder.settings
