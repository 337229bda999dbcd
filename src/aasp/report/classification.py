"""The report of a classifier: scores, confusions, calibration, errors, learning curves.

n clips, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from aasp.evaluate.class_scores import ClassScores, calibration, class_scores, confusions, mistakes
from aasp.evaluate.intervals import Interval
from aasp.evaluate.metrics import score
from aasp.formats import percent_text
from aasp.report.figures import class_curve, class_dots, confusion_matrix, probability_histogram, reliability_diagram
from aasp.report.learning import curves, logged
from aasp.report.templates import write_page

WHOLE_MATRIX = 20
"""Maximum number of classes for which a confusion matrix is readable on a phone."""
DOTS = 35
"""Maximum number of classes with a line each in a figure."""
CONFUSIONS, MISTAKES = 12, 15
"""Maximum number of rows in their tables."""


@dataclass(frozen=True)
class ClassificationReport:
    """Data for the report.

    Attributes:
        title: the title: what was trained on what.
        classes: K names, in order of class index.
        truth: class indices (n,), or multi-hot (n, K) if clips have several labels.
        probabilities: (n, K).
        rounds: number of the round that scored each clip, (n,).
        names: the clips' names, n.
        score: accuracy, or mAP, with its interval.
        history: for each round its log lines: step, and where measured train_loss and valid_score (0 to 1).
        facts: how it was made, plain text by term.
    """

    title: str
    classes: Sequence[str]
    truth: np.ndarray
    probabilities: np.ndarray
    rounds: np.ndarray
    names: Sequence[str]
    score: Interval
    history: Sequence[Sequence[Mapping[str, float | None]]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def several(self) -> bool:
        """Whether a clip may have several labels."""
        return self.truth.ndim == 2

    @property
    def metric(self) -> str:
        return "mAP" if self.several else "accuracy"


def write_classification_report(path: Path, report: ClassificationReport) -> None:
    """Write the report as one self-contained HTML page, completely or not at all."""
    write_page(path, "report/classification.html", **_values(report))


def _values(report: ClassificationReport) -> dict[str, Any]:
    """The template's values."""
    several, classes, truth, probabilities = report.several, report.classes, report.truth, report.probabilities
    counts = confusions(truth, probabilities)
    found, calibration_error = calibration(truth, probabilities)
    wrong = mistakes(truth, probabilities)
    rounds = [report.rounds == number for number in np.unique(report.rounds)]
    cases, counted = ("labels that are there", "labels") if several else ("clips that are right", "clips")
    matrix = lambda: confusion_matrix(counts, classes, title="Clips by true and predicted class")
    confused = _confused(counts, classes)
    return {
        "eyebrow": "aasp finetune",
        "title": report.title,
        "facts": report.facts,
        "report": report,
        "several": several,
        "rounds": [score(truth[own], probabilities[own]) for own in rounds],
        "chance": truth[:, truth.any(axis=0)].mean() if several else np.bincount(truth).max() / len(truth),
        **_every_class(class_scores(truth, probabilities, report.rounds), classes),
        "matrix": matrix() if len(classes) <= WHOLE_MATRIX else None,
        "worst": confused[0] if confused else None,
        "confusion_rows": [
            [one["true"], one["predicted"], f"{one['clips']:,}", percent_text(one["clips"] / one["of"])]
            for one in confused
        ],
        "calibration_error": calibration_error,
        "calibration_figures": [
            reliability_diagram(found, title="Reliability", cases=cases),
            probability_histogram(found, title="Distribution of the probabilities", cases=counted),
        ],
        "mistakes": len(wrong),
        "mistake_rows": [_mistake(report, row) for row in wrong[:MISTAKES].tolist()],
        "learning": [
            *_learning(report, "train_loss", "Fitting the training clips", "loss", 1.0),
            *_learning(report, "valid_score", "On the validation part", f"{report.metric} (%)", 100.0),
        ],
    }


def _every_class(scores: ClassScores, classes: Sequence[str]) -> dict[str, Any]:
    """A figure, and a table with the lowest score first; classes without a clip come last."""
    average = scores.average_precision
    main, label = (scores.f1, "F1") if average is None else (average, "average precision")
    columns = {} if average is None else {"AP": average}
    columns |= {"precision": scores.precision, "recall": scores.recall, "F1": scores.f1}
    known = np.flatnonzero((scores.support > 0) & ~np.isnan(main))
    if len(known) <= DOTS:
        figure = class_dots([classes[k] for k in known.tolist()], main[known], title="Class by class", label=label)
    else:
        title = f"{len(known)} classes by their clips"
        figure = class_curve(main[known], scores.support[known], title=title, label=label)
    order = np.lexsort((np.nan_to_num(main, nan=np.inf), scores.support == 0))
    reached = np.where(scores.support > 0, np.nan_to_num(main, nan=0.0), np.inf)
    return {
        "hardest": None if reached.min() >= 1 else classes[int(reached.argmin())],
        "class_figure": figure,
        "class_head": ["class", *columns, "clips"],
        "class_rows": [
            [classes[k], *(percent_text(some[k]) for some in columns.values()), f"{scores.support[k]:,}"] for k in order
        ],
    }


def _confused(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The largest off-diagonal entries of the confusion matrix (K, K), in descending order."""
    away = counts * (1 - np.eye(len(counts), dtype=int))
    order = np.argsort(-away, axis=None, kind="stable")[:CONFUSIONS]
    return [
        {"true": classes[i], "predicted": classes[j], "clips": int(away[i, j]), "of": int(counts[i].sum())}
        for i, j in zip(*np.unravel_index(order, away.shape), strict=True)
        if away[i, j]
    ]


def _mistake(report: ClassificationReport, row: int) -> list[str]:
    """One clip: file, true class(es), predicted class, and its probability."""
    truth, probabilities = report.truth[row], report.probabilities[row]
    true = np.flatnonzero(truth).tolist() if report.several else [truth]
    named = ", ".join(report.classes[k] for k in true) or "none"
    return [report.names[row], named, report.classes[probabilities.argmax()], percent_text(probabilities.max())]


def _learning(report: ClassificationReport, name: str, title: str, label: str, scale: float) -> list[Markup]:
    """The curve of one logged number over all rounds, if any round has it."""
    lines = [points * (1.0, scale) for points in (logged(run, name) for run in report.history) if len(points)]
    return [curves(lines, title=title, label=label)] if lines else []
