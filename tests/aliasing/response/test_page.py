"""The page is drawn from the JSON alone, and shows its content."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest

import hostile
from aasp.aliasing import report
from aasp.aliasing.response.page import answer, section, summary_cells
from aasp.errors import AaspError
from browser import DESK, PHONE, look
from pages import parts


def stage(name: str, *, linear: bool) -> dict:
    hz = [0.6, 2.1, 7.3, 30.2]
    found = {
        "stage": name,
        "hz": hz,
        "alias_hz": [0.6, 2.1, 1.05, 1.05],
        "gain": [1.0, 0.9, 0.5, 0.25],
        "envelope": [0.0] * 4,
        "phase_variance": [0.7, None, 0.2, 0.1],
        "shift_variance": [0.0, 0.0, 2.0, None],
        "token_hz": [0.0, 1.05, 2.1, 3.15],
        "fold": [[0, 0, 1, 0]] * 4,
        "alias_share": [1.0] * 4,
        "linear": linear,
        "theory": [1.0, 0.9, 0.5, 0.25 + 1e-9] if linear else None,
        "summary": {
            "gain_below": 1.0, "gain_above": 0.5, "shift_variance_above": 2.0, "shift_variance": 0.4,
            "alias_share_above": 0.876,
        },
    }  # fmt: skip
    if name == "states":
        values = [[1.0, 0.2], [0.5, 0.5], [0.2, 1.0], [0.1, 0.3]]
        found |= {"states": {"subband": 3, "beta_hz": [4.0, 30.0], "measured": values, "theory": values}}
    return found


def row(stage: str, pooling: str, estimate: float, lead: float | None = None) -> dict:
    around = lambda x: {"estimate": x, "low": x - 0.04, "high": x + 0.03}
    return {"stage": stage, "pooling": pooling, "accuracy": around(estimate), "lead": around(lead) if lead else None}


@pytest.fixture
def found() -> dict:
    models = [
        {
            "name": "conv <1>",
            "token_rate": 6.3,
            "nyquist_hz": 3.15,
            "stages": [stage("stem", linear=True)],
        },
        {
            "name": "aape",
            "token_rate": 6.3,
            "nyquist_hz": 3.15,
            "stages": [stage("states", linear=True), stage("stem", linear=False), stage("encoder", linear=False)],
        },
    ]
    for model, places in zip(models, (["stem"], ["states", "stem", "encoder"]), strict=True):
        rows = [row("frames", "DFT", 0.97)]
        for place in places:
            lead = 0.5 if model["name"] == "aape" and place == "stem" else None
            rows += [row(place, "mean", 0.6, lead), row(place, "mean+std", 0.8, lead)]
        model["decoding"] = {"chance": 0.125, "classes_hz": [3.15, 45.0], "rows": rows}
    return json.loads(json.dumps({"band_hz": [0.5, 45.0], "settings": {}, "models": models}))


def texts(html: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", html)


def test_sections(found: dict, tmp_path: Path) -> None:
    made = parts(section(found, tmp_path))
    assert [one.title for one in made] == [
        "What the patches leave of modulations",
        "Whether fast rates can still be decoded",
        "How much passes",
        "Where it goes",
        "Whether tokens move with the sound",
        "What each state of the SBLU passes",
    ]
    assert all(one.caption and one.panels for one in made)
    table = made[0].panels[0]
    assert "conv &lt;1&gt;" in table
    assert ">−6.0<" in table and ">88<" in table and ">2.00<" in table
    assert {"From the mean over time", "conv &lt;1&gt;, stem", "60 %"} <= set(texts(made[1].panels[0]))
    gains = [set(texts(panel)) for panel in made[2].panels]
    assert {"Gain of the SBLU states", "measured", "expected"} <= gains[0]
    assert {"Gain of the stem", "modulation frequency (Hz)", "gain (dB below peak)"} <= gains[1]
    assert "Gain of the encoder" in gains[2] and len(gains) == 3
    assert "differ by 1e-09 of the peak" in made[2].text
    assert len(made[3].panels) == 3 and len(made[4].panels) == 4
    assert "aape, subband 4" in texts(made[5].panels[0])


def test_the_answer_has_its_uncertainty(found: dict) -> None:
    text = answer(found)
    assert "conv <1> (stem) in 60 % [56, 63] of clips; aape (encoder) in 60 % [56, 63] of clips. Chance" in text
    assert "Chance is 12.5 %; the same probe on the frames themselves reaches 97 %" in text
    assert "points" not in text  # an encoder has no counterpart in a stem alone
    del found["models"][1]["decoding"]["rows"][-2:]
    assert "aape (stem) in 60 % [56, 63] of clips, +50 [+46, +53] points against conv <1> (stem)." in answer(found)
    found["models"][1]["decoding"]["against"] = "the first with slow tokens"
    assert "points against the first with slow tokens (stem)." in answer(found)


def test_too_few_clips_have_no_ends(found: dict, tmp_path: Path) -> None:
    for model in found["models"]:
        for one in (model["decoding"] or {"rows": []})["rows"]:
            one["accuracy"] |= {"low": None, "high": None}
    assert "conv <1> (stem) in 60 % [too few to tell] of clips" in answer(found)
    assert "60 %" in texts(parts(section(found, tmp_path))[1].panels[0])


def test_the_answer_of_many_models_names_the_first_and_the_best(found: dict) -> None:
    one = json.dumps(found["models"][0])
    found["models"] = [json.loads(one) | {"name": f"model {k}"} for k in range(6)]
    found["models"][3]["decoding"]["rows"][1] = row("stem", "mean", 0.7)
    assert "for model 0 (stem) in 60 % [56, 63] of clips; best of 6 models, for model 3 (stem) in 70 %" in answer(found)
    assert "model 1" not in answer(found)


def test_tokens_too_fast_to_alias(found: dict, tmp_path: Path) -> None:
    for model in found["models"]:
        model |= {"decoding": None, "nyquist_hz": 50.0}
        for one in model["stages"]:
            one["summary"] = {name: None for name in one["summary"]} | {"gain_below": 1.0}
    made = parts(section(found, tmp_path))
    assert "up to conv <1> 50 Hz, aape 50 Hz" in answer(found)
    assert [one.title for one in made][1] == "How much passes"
    assert summary_cells(found["models"][0]["stages"][0]["summary"]) == ["–", "–", "–"]


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_the_page_in_a_browser(found: dict, tmp_path: Path, width: int, scheme: str) -> None:
    (tmp_path / "response.json").write_text(json.dumps({"command": "aasp alias response", "software": "aasp"} | found))
    (tmp_path / "report.html").write_text(report.build(tmp_path), encoding="utf-8")
    seen = look(tmp_path / "report.html", tmp_path, width=width, scheme=scheme)  # type: ignore[arg-type]
    assert seen.faults == []
    assert len(seen.found["drawings"]) == 13


@pytest.mark.slow
def test_no_text_of_the_document_becomes_anything_else(found: dict, tmp_path: Path) -> None:
    made = {"command": "aasp alias", "software": "aasp 1"}
    for was in sorted({*hostile.strings(found)}):
        changed = hostile.renamed(found, was, f"{hostile.NAME} {was}")
        (tmp_path / "response.json").write_text(json.dumps(changed | made))
        with contextlib.suppress(AaspError):  # a field is missing
            hostile.shown(report.build(tmp_path))
