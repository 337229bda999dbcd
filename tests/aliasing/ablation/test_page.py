"""The ablation's part of the page states its numbers."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

import hostile
from aasp.aliasing import report
from aasp.aliasing.ablation.page import answer, section
from aasp.errors import AaspError
from browser import DESK, PHONE, look
from pages import parts


def difference(estimate: float, spread: float, against: str = "full") -> dict[str, Any]:
    lead = {"estimate": estimate, "low": estimate - spread, "high": estimate + spread}
    return {"against": against, "lead": lead, "detectable": 1.4 * spread}


def row(measure: str, cell: str, *differences: dict[str, Any]) -> dict[str, Any]:
    score = {"estimate": 0.8, "low": 0.7, "high": 0.9}
    return {
        "measure": measure, "metric": "accuracy", "cell": cell, "score": score, "seeds": [0.8], "chance": 0.1,
        "differences": list(differences),
    }  # fmt: skip


@pytest.fixture
def found() -> dict[str, Any]:
    cells = [
        {"name": name, "asks": f"what of {name}?", "against": None, "changes": {}, "seeds": 1, "minutes": 2.0}
        for name in ("full", "conv", "<odd>")
    ]
    rows = [
        row("notes", "full"), row("notes", "conv", difference(-0.05, 0.02)), row("notes", "<odd>"),
        row("speech", "full"), row("speech", "conv", difference(0.01, 0.03)),
        row("speech", "<odd>", difference(0.2, 0.1, "conv"), difference(0.21, 0.1)),
    ]  # fmt: skip
    return {"cells": cells, "rows": rows, "seeds": 3, "settings": {"steps": 400}}


def test_the_answer_names_clear_and_unclear_differences(found: dict[str, Any]) -> None:
    text = answer(found)
    assert "full against conv: notes +5.0 points (+3.0 to +7.0); no clear difference on speech (−4.0 to +2.0)." in text
    assert text.startswith("In 3 trainings of 400 steps each")
    for one in found["rows"]:
        for less in one["differences"]:
            less["lead"]["seeds"] = 1
    assert answer(found).startswith("In 1 training of 400 steps each"), "those that are there, not those requested"
    for one in found["rows"]:
        one["differences"] = []
    assert answer(found) == "The ablation has no two cells to compare yet."


def test_too_few_clusters_are_reported(found: dict[str, Any], tmp_path: Path) -> None:
    for one in found["rows"]:
        one["score"] |= {"low": None, "high": None}
        for less in one["differences"]:
            less["lead"] |= {"low": None, "high": None}
            less["detectable"] = None
    assert answer(found).endswith("no clear difference anywhere.")
    first, second = parts(section(found, tmp_path))
    assert len(first.panels) == 2
    assert "against conv: +20.0 (too few to tell)" in second.panels[0] and "None" not in second.panels[0]


def test_every_number_is_on_the_page(found: dict[str, Any], tmp_path: Path) -> None:
    first, second = parts(section(found, tmp_path))
    assert len(first.panels) == 2 and all(panel.startswith("<svg") for panel in first.panels)
    table = second.panels[0]
    assert "against conv: +20.0 (+10.0 to +30.0; could have seen 14.0)" in table
    assert "&lt;odd&gt;" in table and "<odd>" not in table and "a guess: 10.0" in table
    assert "6 minutes" in second.caption


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_in_a_browser(found: dict[str, Any], tmp_path: Path, width: int) -> None:
    made = {"command": "aasp ablate toy", "software": "aasp 1"}
    (tmp_path / "ablation.json").write_text(json.dumps(found | made))
    (tmp_path / "report.html").write_text(report.build(tmp_path), encoding="utf-8")
    seen = look(tmp_path / "report.html", tmp_path, width=width, scheme="dark")
    assert seen.faults == [] and len(seen.found["drawings"]) == 2


@pytest.mark.slow
def test_no_text_of_the_document_becomes_anything_else(found: dict[str, Any], tmp_path: Path) -> None:
    made = {"command": "aasp alias", "software": "aasp 1"}
    for was in sorted({*hostile.strings(found)}):
        changed = hostile.renamed(found, was, f"{hostile.NAME} {was}")
        (tmp_path / "ablation.json").write_text(json.dumps(changed | made))
        with contextlib.suppress(AaspError):  # a field is missing
            hostile.shown(report.build(tmp_path))
