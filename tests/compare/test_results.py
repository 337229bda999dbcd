"""Results of a comparison: the right scores, intervals, pairs and costs, in every form."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, replace
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
        self.tested = (name,)


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
    facts["notes"] = {"words": ["4 group(s) in both train and test"]}
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


def test_another_average_includes_modulations(found: dict[str, Any], results: Results) -> None:
    row = pick(found, "rows", question="average with modulation rate, default vector", system="good", last=True)
    sets = [pick(found, "rows", question=f"{name}, default vector", system="good", last=True) for name in
            ("words", "sounds", "modulations")]  # fmt: skip
    assert row["score"]["estimate"] == pytest.approx(np.mean([one["score"]["estimate"] for one in sets]))
    without = Results(results.folder, results.layout, READINGS[:2], [])
    assert not any("with modulation rate" in question for question in without.questions)


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
    assert "4 | 0.5 |" in tables.markdown({**found, "budget": "8 steps", "data": "sounds", "failed": {}, "notes": {}})


def scored(folder: Folder, name: str, values: dict[int, float], step: int | None = None) -> None:
    """Scores of each clip by seed, at the end or at a stage."""
    for seed, value in values.items():
        trained = folder.trained(name, seed)
        place = trained if step is None else trained.stage(step)
        clips = [value + 0.01 * (n // 3 % 2) for n in range(CLIPS)]
        place.keep("words, default vector", Scores("accuracy", clips, SPEAKERS))


def made(folder: Folder, seeds: int, steps: int = 8, readings: list[Any] = READINGS[:1]) -> dict[str, Any]:
    """The results of one recipe."""
    layout = Layout({"good": recipes.get("aasp_tiny")}, {"good": replace(COSTS, steps=steps)}, seeds)
    facts = {"budget": f"{steps} steps", "data": "sounds", "failed": {}, "notes": {}}
    return json.loads(json.dumps(Results(folder, layout, readings, []).document(facts)))


def test_a_curve_is_of_trainings_that_have_all_stages(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "comparison")
    scored(folder, "good", {0: 0.3, 1: 0.5, 2: 0.7})
    scored(folder, "good", {0: 0.2, 1: 0.4}, 2)
    scored(folder, "good", {0: 0.3}, 4)
    scored(folder, "untrained-good", {0: 0.1, 1: 0.2, 2: 0.3})
    found = made(folder, 3)
    row = tables.scores_table(found, "words, default vector")[2]
    assert row.startswith("| good | 20.5 (1) | 30.5 (1) | 50.5 [") and row.endswith("| 30.5, 50.5, 70.5 |")
    unit = tables.Unit("accuracy")
    points = page._points(found, found["rows"], "good", "step", 1.0, unit)
    assert points["x"].tolist() == [0, 2, 4, 8] and points["y"] == pytest.approx([10.5, 20.5, 30.5, 30.5])
    assert page._curves(found, "words, default vector")["legend"][0][2] == "good (curve of 1 of 3 trainings)"


def test_of_two_steps_the_first_is_the_half(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "comparison")
    scored(folder, "good", {0: 0.5})
    scored(folder, "good", {0: 0.25}, 1)
    assert tables.scores_table(made(folder, 1, steps=2), "words, default vector")[2].startswith(
        "| good | – | 25.5 | 50.5"
    )


def test_one_training_says_nothing_of_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "comparison")
    scored(folder, "good", {0: 0.5, 1: 0.6})
    scored(folder, "untrained-good", {0: 0.25, 1: 0.3})
    for seeds, words, detectable in ((1, "of clips only (one training).", None), (2, "and over trainings.", 0.0)):
        found = made(folder, seeds)
        assert tables.summary(found).endswith(words)
        (pair,) = found["pairs"]
        least = pair["difference"]["detectable"]
        assert (least is None) == (detectable is None) and pair["difference"]["lead"]["low"] is not None
        line = tables.pairs_table(found, "words, default vector")[2]
        assert line.endswith("| – |") == (seeds == 1)


def test_one_training_with_labels_says_nothing_of_its_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "comparison")
    scored(folder, "good", {0: 0.5, 1: 0.6, 2: 0.7})
    layout = Layout({"good": recipes.get("aasp_tiny")}, {"good": COSTS, "scratch-good/words": COSTS}, 3)
    layout = replace(layout, supervised={"scratch-good/words": None})  # type: ignore[dict-item]
    for seeds, least in ((1, False), (2, True)):
        scored(folder, "scratch-good/words", {seeds - 1: 0.1 * seeds})
        (pair,) = [
            asdict(one) for one in Results(folder, layout, READINGS[:1], []).pairs() if one.system == "good"
        ]  # fmt: skip
        assert (pair["difference"]["detectable"] is not None) == least


def test_scores_in_one_cluster_are_drawn_clip_by_clip(tmp_path: Path) -> None:
    """A single speaker says nothing of others, and can't be drawn."""
    folder = Folder(tmp_path, "comparison")
    values = np.linspace(0, 1, CLIPS).tolist()
    for name in ("good", "untrained-good"):
        folder.trained(name, 0).keep("words, default vector", Scores("accuracy", values, ["one"] * CLIPS))
    rows = made(folder, 1)["rows"]
    assert rows[0]["score"]["clusters"] == CLIPS and rows[0]["score"]["low"] == pytest.approx(0.425, abs=0.02)


def test_two_labels_of_the_same_clips_share_their_draws(tmp_path: Path) -> None:
    """Without groups too: drawn apart, the average of two equal columns would be more certain than either."""
    folder, values = Folder(tmp_path, "comparison"), np.linspace(0, 1, CLIPS).tolist()
    widths = []
    for tested in (("a", "b"), ("a", "a")):
        readings: list[Any] = [Asked("words", "default vector"), Asked("words pitch", "default vector")]
        for reading, clips in zip(readings, tested, strict=True):
            reading.tested = (clips,)
            folder.trained("good", 0).keep(reading.name, Scores("accuracy", values))
        rows = made(folder, 1, readings=readings)["rows"]
        mean, one = rows[0]["score"], rows[1]["score"]
        widths.append((mean["high"] - mean["low"]) / (one["high"] - one["low"]))
    assert widths[0] == pytest.approx(0.5**0.5, rel=0.1) and widths[1] == pytest.approx(1.0, rel=0.05)


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
    assert "- words: 4 group(s) in both train and test" in text
    assert "- poor, seed 3: loss is not finite" in text and "2 recipes × 3 trainings of 8 steps each" in text
    pairs = tables.pairs_table(found, "words, default vector")
    assert len(pairs) == 2 + 7 and pairs[2].startswith("| good | poor | **+")


def test_the_page_names_the_best_system(found: dict[str, Any]) -> None:
    text = page.answer(found, "average of 2 sets, default vector")
    assert text.startswith("Average of 2 sets, default vector: good is the highest of the recipes, ")
    assert "Above it" not in text
    ahead, _, alike = text.partition(" It can't be distinguished from ")
    assert "poor (+" in ahead.partition("It differs clearly from ")[2] and "poor" not in alike
    flipped = page.answer(
        {**found, "rows": [r for r in found["rows"] if r["system"] != "good"]}, "words, default vector"
    )
    assert "poor is the highest of the recipes" in flipped and "good (−" in flipped
    rows = [{**r, "score": {**r["score"], "estimate": 1.0}} if r["kind"] == "log-mel" else r for r in found["rows"]]
    above = page.answer({**found, "rows": rows}, "words, default vector")
    assert ": good is the highest of the recipes, " in above
    assert " Above it: log-mel-40 (100.0), log-mel-128 (100.0)." in above
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
