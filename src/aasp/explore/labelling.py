"""Active learning over an index: which row to label next, and how accurate a classifier of the labels is.

A fifth of the recordings, chosen by the hash of their content, is held out: the classifier never trains on them while
labels are given. Every fifth row to label is one of these, at random; the classifier's accuracy on them is an unbiased
estimate. The other rows are those it is least certain of: the smallest margin between the two likeliest classes. N
rows, P principal components, C classes.
Source: Scheffer et al. 2001 for the margin; the held-out picks are ours.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from aasp.errors import AaspError
from aasp.evaluate.intervals import Interval, interval
from aasp.explore.labels_file import Label, write_labels
from aasp.index import Index

EVERY = 5
"""One in this many recordings is held out, and one in this many rows to label is one of these."""
COMPONENTS = 128
FITTED = 20_000  # rows that the principal components are fitted on
MIN_FILES = 25
MAX_CLASSES = 35  # keys: 1 to 9, a to z
MAX_NAME = 80
C = 1.0
"""Inverse regularisation strength (benchmarks/labelling.py)."""

Why = Literal["start", "uncertain", "held out", "rest"]


@dataclass(frozen=True)
class Question:
    """The row to label, and the reason; for an uncertain row the two likeliest classes."""

    row: int
    why: Why
    between: tuple[str, ...] = ()


@dataclass
class Labelling:
    """Labels of an index's rows, a classifier of them, and the row to label next.

    Attributes:
        index: the rows.
        file: the labels are written to it after each change.
        labels: the labels so far, oldest first.
        classes: their names, in the order of their keys.
    """

    index: Index
    file: Path
    labels: list[Label]
    classes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.classes = list(dict.fromkeys([*self.classes, *(label.name for label in self.labels)]))
        for name in self.classes:
            _check_class(name)
        if len(self.classes) > MAX_CLASSES:
            raise AaspError(f"{len(self.classes)} classes, and there are keys for {MAX_CLASSES}; give fewer")
        self.features = components(self.index.vectors)
        self.held_out, self._order = held_out(self.index, self.labels)
        self._skipped: set[int] = set()
        self._learn()
        self.current = self._next()

    def label(self, row: int, name: str) -> None:
        """Label the current row, write the file, retrain, and choose the next row.

        Raises:
            AaspError: another row is the current one, or there is no such class.
            OSError: the file could not be written; the label is not kept.
        """
        if self.current is None or row != self.current.row:
            raise AaspError(f"row {row} is not the current one; load the page again")
        if name not in self.classes:
            raise AaspError(f"no class {name!r}; add it first")
        self._write([*self.labels, Label(row, name, bool(self.held_out[row]))])
        self._learn()
        self.current = self._next()

    def undo(self) -> None:
        """Remove the last label, and return to its row.

        Raises:
            AaspError: there is no label.
        """
        if not self.labels:
            raise AaspError("no label to take back")
        *before, last = self.labels
        self._write(before)
        self._learn()
        self.current = Question(last.row, "held out" if self.held_out[last.row] else "rest")

    def skip(self) -> None:
        """Choose another row; this one is not offered again before all others."""
        if self.current is not None:
            self._skipped.add(self.current.row)
            self.current = self._next()

    def add_class(self, name: str) -> None:
        """Add a class.

        Raises:
            AaspError: it exists already, is not a valid name, or there are no more keys.
        """
        name = name.strip()
        _check_class(name)
        if name in self.classes:
            raise AaspError(f"class {name!r} is there already")
        if len(self.classes) >= MAX_CLASSES:
            raise AaspError(f"there are keys for {MAX_CLASSES} classes; use one of these")
        self.classes.append(name)

    def accuracy(self) -> Interval | None:
        """Accuracy of the classifier on held-out rows, with its interval; None with fewer than two recordings of these.

        The bootstrap resamples recordings.
        """
        tested = [label for label in self.labels if label.held_out]
        recordings = [self._recording(label.row) for label in tested]
        if self._model is None or len(set(recordings)) < 2:
            return None
        found = self._model.predict(self.features[[label.row for label in tested]])
        right = [float(name == label.name) for name, label in zip(found, tested, strict=True)]
        return interval(right, clusters=recordings, resamples=2_000)

    def _recording(self, row: int) -> str:
        """The content of a row's file, by its hash, or its path: copies are one recording."""
        return self.index.rows["hash"][row].as_py() or self.index.sound(row).path

    def state(self) -> dict[str, Any]:
        """The state that the page shows, as JSON values."""
        counts, accuracy = Counter(label.name for label in self.labels), self.accuracy()
        shown: dict[str, Any] = {
            "classes": [{"name": name, "count": counts[name]} for name in self.classes],
            "labelled": len(self.labels),
            "heldOut": sum(label.held_out for label in self.labels),
            "total": len(self.index),
            "accuracy": accuracy and [accuracy.estimate, accuracy.low, accuracy.high],
            "last": {"row": self.labels[-1].row, "name": self.labels[-1].name} if self.labels else None,
            "current": None,
        }
        if self.current is not None:
            path, start, seconds = self.index.sound(self.current.row)
            shown["current"] = {
                "row": self.current.row, "why": self.current.why, "between": list(self.current.between),
                "name": self.index.rows["path"][self.current.row].as_py() or path, "start": start, "seconds": seconds,
                "windowed": self.index.settings.window is not None,
            }  # fmt: skip
        return shown

    def predictions(self) -> tuple[np.ndarray, np.ndarray]:
        """Likeliest class of each row (N,), and its probability (N,), by a classifier trained on all labels.

        Raises:
            AaspError: there are fewer than two classes.
        """
        model = fitted(self.features, self.labels)
        if model is None:
            raise AaspError(f"{self.file}: labels of fewer than two classes; label more sounds first")
        likely = model.predict_proba(self.features)
        return model.classes_[likely.argmax(1)], likely.max(1)

    def _write(self, labels: list[Label]) -> None:
        write_labels(self.index, labels, self.file)
        self.labels = labels

    def _learn(self) -> None:
        self._model = fitted(self.features, [label for label in self.labels if not label.held_out])

    def _next(self) -> Question | None:
        free = np.ones(len(self.index), bool)
        free[[label.row for label in self.labels]] = False
        if not (free & ~np.isin(np.arange(len(free)), list(self._skipped))).any():
            self._skipped.clear()
        free[list(self._skipped)] = False
        if not free.any():
            return None
        kept, learnt = free & self.held_out, free & ~self.held_out
        if (len(self.labels) % EVERY == EVERY - 1 or not learnt.any()) and kept.any():
            return Question(int(self._order[kept[self._order]][0]), "held out")
        if self._model is None:
            return Question(int(self._order[learnt[self._order]][0]), "start")
        rows = np.flatnonzero(learnt)
        at, between = least_certain(self._model, self.features[rows])
        return Question(int(rows[at]), "uncertain", between)


def components(vectors: np.ndarray) -> np.ndarray:
    """First principal components of the standardised vectors, float32 (N, P), scaled to unit mean variance."""
    chosen = np.random.default_rng(0).permutation(len(vectors))[:FITTED]
    base = np.asarray(vectors[np.sort(chosen)], np.float32)
    most = min(COMPONENTS, *base.shape)
    pipeline: Pipeline = make_pipeline(StandardScaler(), PCA(most, random_state=0))
    scale = max(float(pipeline.fit_transform(base).std()), 1e-6)
    blocks = [vectors[begin : begin + FITTED] for begin in range(0, len(vectors), FITTED)]
    return np.concatenate([pipeline.transform(np.asarray(block, np.float32)) / scale for block in blocks])


def fitted(features: np.ndarray, labels: list[Label]) -> LogisticRegression | None:
    """Multinomial logistic regression on labelled rows; None with fewer than two classes."""
    names = [label.name for label in labels]
    if len(set(names)) < 2:
        return None
    with threadpool_limits(1):  # for a fit this small, several threads cost more than they gain
        return LogisticRegression(C=C, max_iter=300).fit(features[[label.row for label in labels]], names)


def least_certain(model: LogisticRegression, features: np.ndarray) -> tuple[int, tuple[str, ...]]:
    """The row of (R, P) features with the smallest margin between its two likeliest classes, and these classes."""
    likely = model.predict_proba(features)
    two = np.argsort(likely, axis=1)[:, -2:]
    margin = np.take_along_axis(likely, two, 1) @ [-1, 1]
    at = int(margin.argmin())
    return at, tuple(model.classes_[two[at, ::-1]].tolist())


def held_out(index: Index, labels: Sequence[Label] = ()) -> tuple[np.ndarray, np.ndarray]:
    """The held-out rows as a mask, bool (N,), and all rows in random order, int64 (N,).

    Both depend only on the content of the recordings, so that they persist when the index grows, and a recording under
    two names is on one side. With few recordings, windows are held out instead of whole recordings; labels that were
    given so keep this when there are more.
    """
    starts = index.rows["start"].to_pylist()
    hashes, paths = index.rows["hash"].to_pylist(), index.rows["path"].to_pylist()
    files = [one or path or "" for one, path in zip(hashes, paths, strict=True)]
    moments = [f"{one} {start}" for one, start in zip(files, starts, strict=True)]
    mixed = lambda text, salt: zlib.crc32(f"{salt} {text}".encode())
    whole, windows = (
        np.array([mixed(one, "held out") % EVERY == 0 for one in drawn], bool) for drawn in (files, moments)
    )
    ways = (whole, windows) if len(set(files)) >= MIN_FILES else (windows, whole)
    as_labelled = lambda way: all(way[label.row] == label.held_out for label in labels)
    kept = next(filter(as_labelled, ways), ways[0])
    order = np.argsort([mixed(f"{text} {row}", "order") for row, text in enumerate(moments)], kind="stable")
    return kept if not kept.all() else np.zeros_like(kept), order


def _check_class(name: str) -> None:
    if not name or len(name) > MAX_NAME or not name.isprintable() or ";" in name:
        raise AaspError(f"class {name[:MAX_NAME]!r}: give 1 to {MAX_NAME} printable letters, and no semicolon")
