"""The classifier's report shows the numbers it is given, for ten classes and for hundreds, on its own page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import hostile
from aasp.evaluate.class_scores import calibration, class_scores
from aasp.evaluate.intervals import Interval
from aasp.report.classification import ClassificationReport, write_classification_report

SCORE = Interval(0.75, 0.7, 0.8, 0.95, 20, 120)


def single(classes: Sequence[str], n: int = 120, rounds: int = 1) -> ClassificationReport:
    rng, K = np.random.default_rng(0), len(classes)
    truth = np.arange(n) % K
    probabilities = rng.random((n, K)) + 0.8 * np.eye(K)[truth]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    history = [
        [{"step": 10, "train_loss": 2.0, "valid_score": None}, {"step": 20, "train_loss": 1.0, "valid_score": 0.625}]
    ] * rounds
    names = [f"{i}.wav" for i in range(n)]
    by_round = np.arange(n) % rounds
    return ClassificationReport("On tones", classes, truth, probabilities, by_round, names, SCORE, history)


def several(K: int, n: int = 150) -> ClassificationReport:
    rng = np.random.default_rng(0)
    truth = rng.random((n, K)) < 0.05
    truth[:, 1] = False
    probabilities = np.clip(0.5 * truth + 0.6 * rng.random((n, K)), 0, 1)
    report = single([f"class {k}" for k in range(K)], n)
    return replace(report, truth=truth, probabilities=probabilities, history=())


def page(report: ClassificationReport) -> str:
    with TemporaryDirectory() as folder:
        write_classification_report(Path(folder) / "report.html", report)
        return (Path(folder) / "report.html").read_text(encoding="utf-8")


def tables(html: str) -> dict[str, list[list[str]]]:
    """Rows of every table by its caption, those behind "more" with the others."""
    found: dict[str, list[list[str]]] = {}
    for caption, body in re.findall(r"<table class=\"list\"><caption>(.*?)</caption>.*?<tbody>(.*?)</tbody>", html):
        rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
        found.setdefault(caption, []).extend([[unescape(cell) for cell in row] for row in rows])
    return found


def texts(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]+)</text>", html)]


def headings(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"<h2>(.*?)</h2>", html)]


def test_single_labels(tmp_path: Path) -> None:
    report = replace(single(["dog", "rain", "sea & <waves>"]), facts={"model": "runs/<tiny>"})
    write_classification_report(tmp_path / "deep" / "report.html", report)
    html = (tmp_path / "deep" / "report.html").read_text()
    assert headings(html) == [
        "The score",
        "Every class",
        "Confusions",
        "Calibration",
        "Most confident errors",
        "Learning curves",
    ]
    assert "Accuracy 75.0 [70.0, 80.0] % (95 % interval)." in html and "had other 20 groups of clips" in html
    assert "--low: 70.0; --high: 80.0; --at: 75.0; --chance: 33.3" in html
    assert "runs/&lt;tiny&gt;" in html and "<waves>" not in html and "<tiny>" not in html
    scores = class_scores(report.truth, report.probabilities, report.rounds)
    rows = tables(html)["Scores of each class"]
    assert [row[0] for row in rows] == [report.classes[k] for k in scores.f1.argsort()]
    dog = next(row for row in rows if row[0] == "dog")
    assert dog == ["dog", *(f"{100 * values[0]:.1f}" for values in (scores.precision, scores.recall, scores.f1)), "40"]
    error = calibration(report.truth, report.probabilities)[1]
    assert f"calibration error is {100 * error:.1f} points" in html
    assert {"dog", "sea & <waves>", "true class, by predicted class below"} <= set(texts(html))


def test_the_page_loads_nothing_from_the_network() -> None:
    html = page(single(["a", "b"]))
    assert not re.search(r"<(script|link|img|iframe)|@import|https?:|//[a-z]|url\((?!#)", html)
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", html)) - {"--low", "--high", "--at", "--chance", "--tone"} <= set(
        re.findall(r"(--[a-z0-9-]+):", html)
    )


def test_confusions_and_mistakes_are_named() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.7, 0.0], [0.6, 0.4, 0.0]])
    truth, names = np.array([0, 0, 0, 1]), ["a/1.wav", "a/2.wav", "a/3.wav", "a/4.wav"]
    report = replace(
        single(["dog", "rain", "cat"]), truth=truth, probabilities=probabilities, rounds=np.zeros(4, int), names=names
    )
    html = page(report)
    assert tables(html)["Most frequent confusions"] == [["dog", "rain", "2", "66.7"], ["rain", "dog", "1", "100.0"]]
    assert tables(html)["Most confident errors"] == [
        ["a/2.wav", "dog", "rain", "80.0"],
        ["a/3.wav", "dog", "rain", "70.0"],
        ["a/4.wav", "rain", "dog", "60.0"],
    ]
    assert "the most frequent error is dog predicted as rain, in 2 of 3 clips." in html
    assert tables(html)["Scores of each class"][-1] == ["cat", "–", "–", "–", "0"], "no clip of it: nothing to measure"


def test_nothing_wrong() -> None:
    report = single(["a", "b"])
    html = page(replace(report, probabilities=np.eye(2)[report.truth]))
    assert "Every class scores 100 %; no clip was assigned to a wrong class." in html
    assert "hardest class is" not in html and html.count("<p>None.</p>") == 2
    assert "Of 0 clips whose" in html


def test_many_classes_have_no_matrix_but_every_row() -> None:
    html = page(single([f"class {k}" for k in range(50)], n=500))
    assert "Clips by true and predicted class" not in html and "50 classes by their clips" in html
    assert len(tables(html)["Scores of each class"]) == 50 and "<summary>20 more</summary>" in html
    assert len(tables(html)["Most frequent confusions"]) == 12


def test_hundreds_of_classes_with_several_labels() -> None:
    report = several(527)
    html = page(report)
    rows = tables(html)["Scores of each class"]
    assert len(rows) == 527 and len(rows[0]) == 6
    average = class_scores(report.truth, report.probabilities, report.rounds).average_precision
    assert average is not None and float(rows[0][1]) == pytest.approx(100 * np.nanmin(average), abs=0.051)
    assert any(row[0] == "class 1" and row[1] == "–" and row[-1] == "0" for row in rows[-30:])
    assert "mAP 75.0 [70.0, 80.0] %" in html and "a random ranking" in html
    assert "labels that are there" in "".join(texts(html))
    assert len(html) < 600_000


def test_rounds_are_reported_separately() -> None:
    report = single(["a", "b", "c"], rounds=3)
    html = page(report)
    right = report.probabilities.argmax(1) == report.truth
    each = ", ".join(f"{100 * right[report.rounds == k].mean():.1f}" for k in range(3))
    assert f"Round by round: {each}." in html and "A line for each of 3 rounds." in html
    assert "Round by round" not in page(single(["a", "b"]))


def test_learning_is_drawn_where_it_was_recorded() -> None:
    html = page(single(["a", "b"]))
    assert {"Fitting the training clips", "On the validation part", "62.5", "optimizer step"} <= set(texts(html))
    assert "Learning curves" not in headings(page(replace(single(["a", "b"]), history=())))


def test_long_names_are_cut_in_figures_only() -> None:
    name = "a name that no figure has room for"
    html = page(single([name, "b"]))
    assert name not in texts(html) and any(text.endswith("…") for text in texts(html))
    assert any(row[0] == name for row in tables(html)["Scores of each class"])


def test_the_same_report_is_the_same_page() -> None:
    assert page(single(["a", "b"])) == page(single(["a", "b"]))


def test_names_are_nothing_but_names(tmp_path: Path) -> None:
    report = replace(single([hostile.NAME, "rain", f"sea {hostile.NAME}"]), title=hostile.NAME)
    report = replace(report, names=[f"{hostile.NAME}{i}.wav" for i in range(120)], facts={hostile.NAME: hostile.NAME})
    write_classification_report(tmp_path / "report.html", report)
    text = hostile.shown((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert text.count(hostile.NAME) > 20
