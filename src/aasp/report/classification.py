"""The report of a classifier: how good it is, where it errs, how far its probabilities can be believed.

n clips, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from aasp.evaluate.class_scores import ClassScores, calibration, class_scores, confusions, mistakes
from aasp.evaluate.intervals import Interval
from aasp.evaluate.metrics import score
from aasp.files import atomic_write
from aasp.report.class_figures import (
    class_curve,
    class_dots,
    confusion_matrix,
    probability_histogram,
    reliability_diagram,
    round_curves,
)
from aasp.report.class_tables import class_table, confusion_table, mistake_table
from aasp.report.page import Section, page
from aasp.report.scores import score_row

WHOLE_MATRIX = 20
"""Most classes that a confusion matrix can show on a phone."""
DOTS = 35
"""Most classes that have a line each in a figure."""
MISTAKES = 15


@dataclass(frozen=True)
class ClassificationReport:
    """All that the report tells, as arrays.

    Attributes:
        title: what was trained on what.
        classes: K names; a class's place is its number.
        truth: class indices (n,), or multi-hot (n, K) where clips have several labels.
        probabilities: (n, K).
        rounds: number of the round that scored each clip, (n,).
        names: of the clips, n.
        score: accuracy, or mAP, with its interval.
        history: of each round, its lines: step, and where they were measured train_loss and valid_score (of 1).
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
    """Write the report as one HTML page that needs no other file, whole or not at all."""
    with atomic_write(path) as beside:
        beside.write_text(tell(report), encoding="utf-8")


def tell(report: ClassificationReport) -> str:
    """The report as one HTML page."""
    scores = class_scores(report.truth, report.probabilities, report.rounds)
    counts = confusions(report.truth, report.probabilities)
    told = [_classes(report, scores), _confusions(report, counts), _calibration(report), _mistakes(report)]
    return page(
        eyebrow="aasp finetune",
        title=report.title,
        lead=f"How well does it tell {len(report.classes)} classes apart on clips that it was not trained on, where "
        "does it err, and how far can its probabilities be believed?",
        answers=[_answer(report, scores, counts)],
        sections=[section for section in (_result(report), *told, _learning(report)) if section is not None],
        facts={term: escape(str(value)) for term, value in report.facts.items()},
    )


def _answer(report: ClassificationReport, scores: ClassScores, counts: np.ndarray) -> str:
    main = scores.f1 if scores.average_precision is None else scores.average_precision
    reached = np.where(scores.support > 0, np.nan_to_num(main, nan=0.0), np.inf)
    hardest = int(reached.argmin())
    away = counts * (1 - np.eye(len(counts), dtype=int))
    told = f"{'mAP' if report.several else 'Accuracy'} {report.score.percent()} % (95 % interval). "
    if reached[hardest] < 1:
        told += f"The hardest class is {report.classes[hardest]}"
    else:
        told += "Every class scores 100 %"
    if not away.any():
        return f"{told}; no clip was taken for another class."
    i, j = divmod(int(away.argmax()), len(away))
    told += f"; what most often goes wrong is {report.classes[i]} taken for {report.classes[j]}"
    return f"{told}, in {away[i, j]:,} of {counts[i].sum():,} clips."


def _result(report: ClassificationReport) -> Section:
    whole = report.score
    drawn = f"{whole.clusters:,} groups of clips" if whole.clusters < whole.clips else "clips"
    rounds = [report.rounds == number for number in np.unique(report.rounds)]
    parts = [score(report.truth[own], report.probabilities[own]) for own in rounds]
    each = f"Round by round: {', '.join(f'{100 * part:.1f}' for part in parts)}." if len(parts) > 1 else ""
    if report.several:
        chance = float(report.truth[:, report.truth.any(axis=0)].mean())
        guess = "a random ranking"
    else:
        chance = float(np.bincount(report.truth).max() / len(report.truth))
        guess = "always guessing the commonest class"
    table = (
        f"<table><caption>{report.metric} with its 95 % interval</caption><tbody>"
        f"{score_row(report.metric, whole, 'first', chance)}"
        f'<tr class="differences"><td colspan="3">{each}</td></tr></tbody></table>'
    )
    return Section(
        "The score",
        f"{len(report.truth):,} clips, each scored once by a classifier that had not heard it.",
        [table],
        f"In per cent. <b>Dot:</b> the score. <b>Bar:</b> its 95 % interval, had other {drawn} been drawn. "
        f"<b>Dashes:</b> {guess}.",
        layout="table",
    )


def _classes(report: ClassificationReport, scores: ClassScores) -> Section:
    average, several = scores.average_precision, report.several
    values, label = (scores.f1, "F1") if average is None else (average, "average precision")
    known = np.flatnonzero((scores.support > 0) & ~np.isnan(values))
    names = [report.classes[k] for k in known.tolist()]
    if len(known) <= DOTS:
        figure = class_dots(names, values[known], title="Class by class", label=label)
    else:
        title = f"{len(known)} classes by their clips"
        figure = class_curve(values[known], scores.support[known], title=title, label=label)
    area = "<b>AP:</b> area under the curve of precision over recall, which mAP is the mean of. " if several else ""
    taken = "more probable than one half" if several else "the most probable class"
    return Section(
        "Every class",
        "The hardest classes come first. A class with few clips has an uncertain score.",
        [figure, class_table(scores, report.classes)],
        f"""{area}<b>Precision:</b> of the clips that were said to be of the class ({taken}), the share that is.
        <b>Recall:</b> of the class's clips, the share that was found. <b>F1:</b> the harmonic mean of the two. A dash:
        nothing to measure.""",
    )


def _confusions(report: ClassificationReport, counts: np.ndarray) -> Section:
    panels, caption = [confusion_table(counts, report.classes)], ""
    if len(counts) <= WHOLE_MATRIX:
        panels.insert(0, confusion_matrix(counts, report.classes, title="Clips by true and predicted class"))
        caption = """A row has the clips of one class; the darker a cell, the larger its share of them. What is beside
        the diagonal went wrong."""
    text = "Which classes it takes for which; the commonest confusions first."
    if report.several:
        text = """What it takes a clip for when the most probable class is none of the clip's labels, once for each of
        the labels."""
    return Section("Confusions", text, panels, caption)


def _calibration(report: ClassificationReport) -> Section:
    found, error = calibration(report.truth, report.probabilities)
    each, cases = "the probability is that of the predicted class", "clips that are right"
    if report.several:
        each = "each class of each clip is a case; the error is the mean of the classes'"
        cases = "labels that are there"
    return Section(
        "Can its probabilities be believed?",
        f"The expected calibration error is {100 * error:.1f} points: so far, on average, what it says is from how "
        f"often it is so ({each}).",
        [
            reliability_diagram(found, title="Said and found", cases=cases),
            probability_histogram(found, title="How sure it is", cases="labels" if report.several else "clips"),
        ],
        """<b>On the dashed line</b> a probability is as often right as it says. <b>Below</b> it promises too much,
        above too little. A dot over few cases, which the second figure counts, can be off by chance.""",
    )


def _mistakes(report: ClassificationReport) -> Section:
    rows = mistakes(report.truth, report.probabilities)
    best = report.probabilities.argmax(axis=1)
    one = lambda k: report.classes[k]
    truth = [", ".join(map(one, np.flatnonzero(y))) or "none" if report.several else one(y) for y in report.truth]
    sure = report.probabilities.max(axis=1)
    table = mistake_table(rows[:MISTAKES].tolist(), report.names, truth, [one(k) for k in best], sure)
    return Section(
        "The surest mistakes",
        f"Of {len(rows):,} clips whose most probable class is wrong, those where it was surest. Some of them may be "
        "wrong labels: listen to them.",
        [table],
    )


def _learning(report: ClassificationReport) -> Section | None:
    drawn = {"train_loss": ("Fitting the training clips", "loss", 1.0)}
    drawn["valid_score"] = ("On the validation part", f"{report.metric} (%)", 100.0)
    panels = [
        round_curves(report.history, name, title=title, label=label, scale=scale)
        for name, (title, label, scale) in drawn.items()
        if any(line.get(name) is not None for lines in report.history for line in lines)
    ]
    if not panels:
        return None
    each = f" A line for each of {len(report.history)} rounds." if len(report.history) > 1 else ""
    return Section("How it learned", f"The checkpoint that did best on the validation part is the model.{each}", panels)
