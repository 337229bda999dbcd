"""The classifier's report in a real browser, on a phone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aasp.evaluate.intervals import Interval
from aasp.report.classification import ClassificationReport, write_classification_report
from browser import look


def test_the_classifiers_report(tmp_path: Path) -> None:
    rng, classes = np.random.default_rng(0), [f"a class of number {k}" for k in range(12)]
    truth = np.arange(120) % 12
    probabilities = rng.random((120, 12)) + 0.8 * np.eye(12)[truth]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    history = [[{"step": s, "train_loss": 1 / s, "valid_score": s / 40} for s in (10, 20)]]
    names = [f"recordings/of-some-length/{i}.wav" for i in range(120)]
    score = Interval(0.75, 0.7, 0.8, 0.95, 20, 120)
    report = ClassificationReport("T", classes, truth, probabilities, np.zeros(120, int), names, score, history)
    write_classification_report(tmp_path / "report.html", report)
    assert look(tmp_path / "report.html", tmp_path).faults == []
