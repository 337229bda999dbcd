"""Tables of a classifier's report: scores of every class, the commonest confusions, the surest mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from aasp.evaluate.class_scores import ClassScores
from aasp.report.listing import listing


def class_table(scores: ClassScores, classes: Sequence[str]) -> str:
    """Every class with its scores in per cent, the lowest first; classes without a clip come last."""
    main = scores.f1 if scores.average_precision is None else scores.average_precision
    order = np.lexsort((np.nan_to_num(main, nan=np.inf), scores.support == 0))
    columns = {"precision": scores.precision, "recall": scores.recall, "F1": scores.f1}
    if scores.average_precision is not None:
        columns = {"AP": scores.average_precision, **columns}
    rows = [
        [escape(classes[k]), *(_percent(values[k]) for values in columns.values()), f"{scores.support[k]:,}"]
        for k in order
    ]
    return listing("Scores of each class", ["class", *columns, "clips"], rows, left=1)


def confusion_table(counts: np.ndarray, classes: Sequence[str], *, most: int = 12) -> str:
    """The largest numbers beside the diagonal of the confusion matrix (K, K); at most `most` of them."""
    away = counts * (1 - np.eye(len(counts), dtype=int))
    order = np.argsort(-away, axis=None, kind="stable")[:most]
    pairs = [(i, j) for i, j in zip(*np.unravel_index(order, away.shape), strict=True) if away[i, j]]
    totals = counts.sum(axis=1)
    rows = [
        [escape(classes[i]), escape(classes[j]), f"{away[i, j]:,}", _percent(away[i, j] / totals[i])] for i, j in pairs
    ]
    return listing("The commonest confusions", ["is", "taken for", "clips", "of its own, %"], rows, left=2)


def mistake_table(
    rows: Sequence[int], names: Sequence[str], truths: Sequence[str], guesses: Sequence[str], sure: np.ndarray
) -> str:
    """Clips with what they are, what they were taken for, and how surely.

    Args:
        rows: which clips.
        names, truths, guesses: of all clips: file, true class(es), predicted class.
        sure: probability of the predicted class of each, (n,).
    """
    lines = [[escape(names[i]), escape(truths[i]), escape(guesses[i]), _percent(sure[i])] for i in rows]
    return listing("The surest mistakes", ["clip", "is", "taken for", "said, %"], lines, left=3)


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"
