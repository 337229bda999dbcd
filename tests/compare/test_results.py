"""Results of a comparison: the right scores, intervals, pairs and costs, in every form."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hostile
from aasp.compare import page, tables
from aasp.compare import results as compared
from aasp.compare.budget import Costs
from aasp.compare.folder import Folder
from aasp.compare.layout import Layout, supervised
from aasp.compare.measures import Scores
from aasp.compare.results import Results
from aasp.compare.supervised import LabelledTask
from aasp.errors import AaspError
from aasp.evaluate.intervals import interval
from aasp.pretrain import recipes
from browser import PHONE, look

SEEDS, CLIPS = 3, 60
SPEAKERS = [f"speaker {n // 3}" for n in range(CLIPS)]
VOICES = [f"voice {n // 3}" for n in range(CLIPS)]
COSTS = Costs(steps=8, seconds=0.5, flops=10**9, memory=2e9, parameters=1000, checkpoint=10)
GOOD = {"good": 0.8, "poor": 0.4, "untrained-good": 0.5, "untrained-poor": 0.5, "log-mel-40": 0.6, "log-mel-128": 0.6}


class Asked:
    """As much of a reading as results look at."""

    def __init__(self, name: str, way: str, averaged: bool = True) -> None:
        self.name, self.set, self.way, self.averaged = f"{name}, {way}", name, way, averaged


READINGS: list[Any] = [
    Asked("words", "default vector"),
    Asked("sounds", "default vector"),
    Asked("modulations", "default vector", averaged=False),
]


def right(rng: np.random.Generator, share: float) -> list[float]:
    return (rng.random(CLIPS) < share).astype(float).tolist()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two recipes, three seeds, three sets; the better one is right more often at every stage."""
    folder, rng = Folder(tmp_path_factory.mktemp("comparison"), "comparison"), np.random.default_rng(0)
    given = {"good": recipes.get("aasp_tiny"), "poor": recipes.get("m2d_tiny")}
    layout = Layout(given, {"good": COSTS, "poor": COSTS}, SEEDS)
    for cell in layout.cells([]):
        trained = folder.trained(cell.name, cell.seed)
        for step, (_, place) in zip((*cell.stages, 8), cell.measured(trained), strict=True):
            for reading in READINGS:
                clusters = VOICES if reading.set == "sounds" else SPEAKERS
                share = GOOD[cell.name] * (1 if cell.kind != "trained" else 0.5 + step / 16)
                place.keep(reading.name, Scores("accuracy", right(rng, share), clusters, None, 0.1))
        if cell.kind == "trained":
            trained.finish({})
            lines = [(2, 1.0, 0.0), (4, 3.0, 0.5), (8, 6.0 + cell.seed, 0.0)]
            logged = [{"step": a, "seconds": b, "waiting_share": c} for a, b, c in lines]
            (trained.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in logged))
    return Results(folder, layout, READINGS, [])


@pytest.fixture(scope="module")
def found(results: Results) -> dict[str, Any]:
    facts = {"budget": "8 steps", "data": "<sounds>", "failed": {"poor, seed 3": "loss is not finite"}}
    made = {"command": "aasp compare good poor", "software": "aasp 1"}
    return json.loads(json.dumps(results.document(facts | made)))


def pick(found: dict[str, Any], kind: str, **wanted: Any) -> dict[str, Any]:
    (one,) = [row for row in found[kind] if all(row.get(name) == value for name, value in wanted.items())]
    return one


def test_scores_and_pairs_are_those_of_the_bootstrap(results: Results, found: dict[str, Any]) -> None:
    scores = {name: [results.folder.trained(name, s).scores("words, default vector") for s in range(SEEDS)] for name in
              ("good", "poor")}  # fmt: skip
    values = {name: np.array([one.values for one in some if one]) for name, some in scores.items()}
    row = pick(found, "rows", question="words, default vector", system="good", last=True)
    assert row["score"]["estimate"] == pytest.approx(values["good"].mean()) and row["step"] == 8
    assert row["seeds"] == pytest.approx(values["good"].mean(axis=1)) and row["chance"] == 0.1
    pairs = [one for one in found["pairs"] if one["question"] == "words, default vector" and one["system"] == "good"]
    assert [one["difference"]["against"] for one in pairs] == ["poor", "untrained-good", "log-mel-40", "log-mel-128"]
    lead = pairs[0]["difference"]["lead"]
    wanted = interval(values["good"], minus=values["poor"], clusters=SPEAKERS, matched=True, resamples=2_000)
    assert (lead["estimate"], lead["low"], lead["high"]) == (wanted.estimate, wanted.low, wanted.high)
    assert pairs[0]["difference"]["detectable"] == pytest.approx((lead["high"] - lead["low"]) * 2.8 / 3.92)
    assert lead["low"] > 0.2


def test_the_average_is_of_sets_that_count_and_draws_trainings_together(found: dict[str, Any]) -> None:
    question = "average of 2 sets, default vector"
    mean = pick(found, "rows", question=question, system="good", last=True)
    sets = [pick(found, "rows", question=f"{name}, default vector", system="good", last=True) for name in
            ("words", "sounds")]  # fmt: skip
    assert mean["score"]["estimate"] == pytest.approx(np.mean([one["score"]["estimate"] for one in sets]))
    assert mean["seeds"] == pytest.approx(np.mean([one["seeds"] for one in sets], axis=0))
    assert mean["score"]["seeds"] == SEEDS and mean["score"]["clusters"] == 40
    assert tables.headlines(found) == [question]


def test_a_seed_that_is_good_on_all_sets_does_not_average_out(tmp_path: Path) -> None:
    """Scores vary by seed, hardly by clip: sets share their trainings, so their average is no more certain."""
    folder = Folder(tmp_path, "comparison")
    layout = Layout({"good": recipes.get("aasp_tiny")}, {"good": COSTS}, SEEDS)
    for seed in range(SEEDS):
        for reading, clusters in zip(READINGS[:2], (SPEAKERS, VOICES), strict=True):
            values = [0.2 * seed + 0.01 * (n // 3 % 2) for n in range(CLIPS)]
            folder.trained("good", seed).keep(reading.name, Scores("accuracy", values, clusters))
    rows = {row.question: row.score for row in Results(folder, layout, READINGS[:2], []).rows() if row.last}
    one, mean = rows["words, default vector"], rows["average of 2 sets, default vector"]
    assert mean.high - mean.low == pytest.approx(one.high - one.low, rel=0.02) and mean.high - mean.low > 0.2


def test_seconds_are_without_waiting_and_flops_up_to_the_stage(found: dict[str, Any]) -> None:
    question = "words, default vector"
    rows = [row for row in found["rows"] if row["question"] == question and row["system"] == "good"]
    assert [(row["step"], row["last"]) for row in rows] == [(2, False), (4, False), (8, True)]
    assert [row["seconds"] for row in rows] == pytest.approx([1.0, 2.0, 6.0])  # 5, 6 and 7 s: their mean
    assert [row["flops"] for row in rows] == [2e9, 4e9, 8e9]
    untrained = pick(found, "rows", question=question, system="untrained-good")
    assert untrained["seconds"] is None and untrained["flops"] == 0
    assert found["recipes"]["good"]["trained_seconds"] == pytest.approx(6.0)
    assert found["recipes"]["good"]["trainings"] == SEEDS and found["recipes"]["good"]["untrained"] == "untrained-good"


def test_rows_that_are_not_pre_trained_here_are_paired_by_clip_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With labels there is a cell for each set; a frozen encoder has one seed; neither shares data with a recipe."""
    monkeypatch.setattr(compared, "RESAMPLES", 100)
    folder, rng = Folder(tmp_path, "comparison"), np.random.default_rng(0)
    tasks = [LabelledTask(name, name, 10, rounds, 1.0, 60.0) for name, rounds in (("words", 1), ("sounds", 5))]
    labelled = supervised({"good": recipes.get("aasp_tiny")}, tasks)
    assert list(labelled) == ["scratch-good/words", "scratch-good/sounds"]
    with pytest.raises(AaspError, match="two of the sets a b, a-b would share a folder"):
        supervised({"good": recipes.get("aasp_tiny")}, [replace(tasks[0], set=name) for name in ("a b", "a-b")])
    dearer = replace(COSTS, steps=4, flops=3 * 10**9)
    costs = {"good": COSTS, "scratch-good/words": COSTS, "scratch-good/sounds": dearer}
    layout = Layout({"good": recipes.get("aasp_tiny")}, costs, SEEDS, labelled, ["theirs"])
    cells = layout.cells(READINGS[:2])
    assert [layout.rounds(cell) for cell in cells if cell.kind == "scratch"] == [1, 5] * SEEDS
    assert [[one.set for one in cell.measures] for cell in cells if cell.kind == "scratch"][:2] == [
        ["words"],
        ["sounds"],
    ]
    values: dict[str, list[list[float]]] = {}
    for cell in cells:
        for reading in cell.measures:
            clusters = VOICES if reading.set == "sounds" else SPEAKERS
            values.setdefault(f"{cell.name} {reading.set}", []).append(right(rng, 0.5))
            scores = Scores("accuracy", values[f"{cell.name} {reading.set}"][-1], clusters)
            folder.trained(cell.name, cell.seed).keep(reading.name, scores)
    made = Results(folder, layout, READINGS[:2], [])
    rows = {row.system: row for row in made.rows() if row.question == "average of 2 sets, default vector"}
    assert rows["scratch-good"].flops == (8 * 10**9 + 12 * 10**9) / 2 and len(rows["scratch-good"].seeds) == SEEDS
    assert rows["theirs"].flops == 0 and len(rows["theirs"].seeds) == 1
    pairs = {pair.difference.against: pair.difference.lead for pair in made.pairs() if "words" in pair.question}
    assert list(pairs) == ["untrained-good", "scratch-good", "theirs", "log-mel-40", "log-mel-128"]
    for name, theirs in (("scratch-good", "scratch-good/words words"), ("theirs", "theirs words")):
        options = dict(minus=values[theirs], clusters=SPEAKERS, matched=False, resamples=100)
        assert pairs[name] == interval(values["good words"], **options)
    found = made.document({})
    assert found["supervised"]["scratch-good/sounds"]["steps"] == 4
    assert "4 | 0.5 |" in tables.markdown({**found, "budget": "8 steps", "data": "sounds", "failed": {}})


def test_csv_and_markdown_hold_the_same_numbers(found: dict[str, Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(tables.csv_lines(found))))
    assert len(lines) == len(found["rows"])
    for line, row in zip(lines, found["rows"], strict=True):
        assert float(line["score"]) == pytest.approx(row["score"]["estimate"], rel=1e-5)
        assert line["memory_bytes"] == ("2e+09" if row["kind"] == "trained" else "")
    text = tables.markdown(found)
    row = pick(found, "rows", question="words, default vector", system="good", last=True)
    assert f"{100 * row['score']['estimate']:.1f} [{100 * row['score']['low']:.1f}" in text
    assert "| good | 1,000 | 8 | 0.5 | 0.1 | 0.008 | 2 | 3 |" in text
    assert "- poor, seed 3: loss is not finite" in text and "2 recipes × 3 trainings of 8 steps each" in text
    pairs = tables.pairs_table(found, "words, default vector")
    assert len(pairs) == 2 + 7 and pairs[2].startswith("| good | poor | **+")


def test_the_page_names_the_best_system(found: dict[str, Any]) -> None:
    text = page.answer(found, "average of 2 sets, default vector")
    assert text.startswith("Average of 2 sets, default vector: good is highest, ")
    ahead, _, alike = text.partition(" It can't be distinguished from ")
    assert "poor (+" in ahead.partition("It differs clearly from ")[2] and "poor" not in alike
    flipped = page.answer(
        {**found, "rows": [r for r in found["rows"] if r["system"] != "good"]}, "words, default vector"
    )
    assert "poor is highest" in flipped and "good (−" in flipped
    empty = {**found, "rows": [], "pairs": []}
    assert page.answer(empty, "words") == "words: nothing is measured yet."


def test_the_page_in_a_browser(found: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "comparison.html").write_text(page.render_comparison(found), encoding="utf-8")
    seen = look(tmp_path / "comparison.html", tmp_path, width=PHONE, scheme="dark")
    assert seen.faults == [] and len(seen.found["drawings"]) == 4
    assert "&lt;sounds&gt;" in page.render_comparison(found)


def test_names_are_nothing_but_names(found: dict[str, Any]) -> None:
    for was in ("good", "poor", "words, default vector", "<sounds>", "aasp compare good poor", "poor, seed 3"):
        found = hostile.renamed(found, was, f"{hostile.NAME} {was}")
    assert hostile.shown(page.render_comparison(found)).count(hostile.NAME) > 20
    lines = [line for line in tables.markdown(found).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5, 6, 9}, "a name makes no cell"
    assert "<script" not in re.sub(r"\\<", "", tables.markdown(found)) and "\u202e" not in tables.markdown(found)
    names = {row["system"] for row in found["rows"]}
    assert {row["system"] for row in csv.DictReader(io.StringIO(tables.csv_lines(found)))} == names
