"""What vectors are good for without any training: a few labels a class, and the most similar sounds.

Vectors are standardised over the clips that are known; similarity is the cosine.

n clips, D dimensions, K classes. Source: nearest class means (Snell et al. 2017, prototypes) on frozen embeddings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aasp.evaluate.intervals import Interval, interval
from aasp.formats import percent_text
from aasp.report.comparison import rows_of

LABELS = (1, 5, 20)
"""Labelled clips a class."""
DRAWS = 20
"""Of the labelled clips; a clip's score is the share of the draws in which it is named right."""
NEIGHBOURS = 4
QUERIES = ("trumpet", "cello", "flute", "glockenspiel")
"""Instruments of whose middle note the neighbours are shown, where the demo has them."""

Sound = tuple[str, Path]
"""What a sound is called, and its file."""


@dataclass(frozen=True)
class FirstLook:
    """What vectors of notes are good for without any training.

    Attributes:
        few: by encoder, accuracy of the family by number of labels a family.
        chance: accuracy of always naming the commonest family.
        queries: some notes; neighbours: the most similar ones to each by the first encoder.
    """

    few: Mapping[str, Mapping[int, Interval]]
    chance: float
    queries: Sequence[Sound]
    neighbours: Sequence[Sequence[Sound]]


def first_look(data: Path, vectors: Mapping[str, np.ndarray]) -> FirstLook:
    """Look at the demo's notes.

    Args:
        data: the demo's sounds.
        vectors: by encoder, of all notes, shape (n, D).
    """
    rows = rows_of(data, "notes")
    column = lambda name: np.array([row[name] for row in rows])
    family, instrument, split = column("family"), column("instrument"), column("split")
    known, test = np.flatnonzero(split != "test"), np.flatnonzero(split == "test")
    few = {name: few_labels(X, family, instrument, known, test) for name, X in vectors.items()}
    chance = Counter(family[test].tolist()).most_common(1)[0][1] / len(test)
    queries = []
    for name in [one for one in QUERIES if one in instrument] or sorted(set(instrument.tolist()))[:1]:
        own = sorted(np.flatnonzero(instrument == name), key=lambda row: int(rows[row]["pitch"]))
        queries.append(int(own[len(own) // 2]))
    sound = lambda row: (f"{rows[row]['instrument']}, key {rows[row]['pitch']}", Path(rows[row]["path"]))
    found = neighbours(next(iter(vectors.values())), instrument, queries)
    return FirstLook(few, chance, [*map(sound, queries)], [[*map(sound, some)] for some in found])


def few_labels(
    vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, known: np.ndarray, test: np.ndarray, seed: int = 0
) -> dict[int, Interval]:
    """Accuracy on test clips, each given the class whose few labelled clips have the nearest mean.

    Args:
        vectors: of all clips, shape (n, D).
        classes: of all clips, shape (n,).
        groups: what clips have in common, which intervals draw, shape (n,).
        known, test: numbers of the clips that labels are drawn from, and of those that are scored.
        seed: of the draws.

    Returns:
        By number of labels a class; a class that has fewer gives all.
    """
    X, names = standardised(vectors, known), np.unique(classes)
    found = {}
    for count in LABELS:
        rng, right = np.random.default_rng(seed), np.zeros(len(test))
        for _ in range(DRAWS):
            drawn = [rng.permutation(known[classes[known] == name])[:count] for name in names]
            means = np.stack([X[rows].mean(0) for rows in drawn])
            means /= np.linalg.norm(means, axis=1, keepdims=True)
            right += names[(X[test] @ means.T).argmax(1)] == classes[test]
        found[count] = interval(right / DRAWS, clusters=groups[test].tolist())
    return found


def neighbours(vectors: np.ndarray, groups: np.ndarray, queries: Sequence[int]) -> list[list[int]]:
    """For each of some clips, the most similar ones of other groups, the nearest first.

    Args:
        vectors: of all clips, shape (n, D).
        groups: as in `few_labels`.
        queries: numbers of the clips.
    """
    X = standardised(vectors, np.arange(len(vectors)))
    found = []
    for row in queries:
        similarity = np.where(groups == groups[row], -np.inf, X @ X[row])
        found.append(np.argsort(-similarity, kind="stable")[:NEIGHBOURS].tolist())
    return found


def standardised(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Vectors (n, D) as unit vectors, after their mean and deviation over the known ones are taken out."""
    X = vectors.astype(np.float64)
    X = (X - X[known].mean(0)) / (X[known].std(0) + 1e-6)
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def few_labels_sentence(look: FirstLook) -> str:
    """What the first encoder makes of five labels a family, a sentence with the others beside it."""
    (first, own), *others = look.few.items()
    share = lambda found: f"{percent_text(found[LABELS[1]].estimate, 0)} %"
    beside = "".join(f", {name} {share(found)}" for name, found in others)
    return f"Given {LABELS[1]} labelled notes a family, {first} names {share(own)} of notes of new instruments{beside}."
