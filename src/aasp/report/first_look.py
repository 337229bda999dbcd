"""What vectors are good for without any training: a few labels a class, and the most similar sounds.

Vectors are standardised over the clips that are known; similarity is the cosine.

n clips, D dimensions, K classes. Source: nearest class means (Snell et al. 2017, prototypes) on frozen embeddings.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from aasp.evaluate.intervals import Interval, interval
from aasp.report.comparison import rows_of
from aasp.report.scores import TONES, score_row

LABELS = (1, 5, 20)
"""Labelled clips a class."""
DRAWS = 20
"""Of the labelled clips; a clip's score is the share of the draws in which it is named right."""
NEIGHBOURS = 4
ASKED = ("trumpet", "cello", "flute", "glockenspiel")
"""Instruments of whose middle note the neighbours are shown, where the demo has them."""

Sound = tuple[str, Path]
"""What a sound is called, and its file."""


@dataclass(frozen=True)
class FirstLook:
    """What vectors of notes tell without any training.

    Attributes:
        few: by encoder, accuracy of the family by number of labels a family.
        chance: accuracy of always naming the commonest family.
        asked: some notes; found: the neighbours of each by the first encoder.
    """

    few: Mapping[str, Mapping[int, Interval]]
    chance: float
    asked: Sequence[Sound]
    found: Sequence[Sequence[Sound]]


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
    asked = []
    for name in [one for one in ASKED if one in instrument] or sorted(set(instrument.tolist()))[:1]:
        own = sorted(np.flatnonzero(instrument == name), key=lambda row: int(rows[row]["pitch"]))
        asked.append(int(own[len(own) // 2]))
    sound = lambda row: (f"{rows[row]['instrument']}, key {rows[row]['pitch']}", Path(rows[row]["path"]))
    found = neighbours(next(iter(vectors.values())), instrument, asked)
    return FirstLook(few, chance, [*map(sound, asked)], [[*map(sound, some)] for some in found])


def few_labels(
    vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, known: np.ndarray, test: np.ndarray, seed: int = 0
) -> dict[int, Interval]:
    """Accuracy on test clips, each given the class whose few labelled clips have the nearest mean.

    Args:
        vectors: of all clips, shape (n, D).
        classes: of all clips, shape (n,).
        groups: what clips have in common, which intervals draw, shape (n,).
        known, test: numbers of the clips that labels are drawn from, and of those that are asked for.
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


def neighbours(vectors: np.ndarray, groups: np.ndarray, asked: Sequence[int]) -> list[list[int]]:
    """For each clip that is asked for, the most similar ones of other groups, the nearest first.

    Args:
        vectors: of all clips, shape (n, D).
        groups: as in `few_labels`.
        asked: numbers of clips.
    """
    X = standardised(vectors, np.arange(len(vectors)))
    found = []
    for row in asked:
        similarity = np.where(groups == groups[row], -np.inf, X @ X[row])
        found.append(np.argsort(-similarity, kind="stable")[:NEIGHBOURS].tolist())
    return found


def standardised(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Vectors (n, D) as unit vectors, after their mean and deviation over the known ones are taken out."""
    X = vectors.astype(np.float64)
    X = (X - X[known].mean(0)) / (X[known].std(0) + 1e-6)
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def few_labels_table(found: Mapping[str, Mapping[int, Interval]], chance: float) -> str:
    """An HTML table: a block for each number of labels, a row for each encoder.

    Args:
        found: by encoder, what `few_labels` gives.
        chance: accuracy of always naming the commonest class.
    """
    blocks = []
    for count in LABELS:
        rows = [
            score_row(name, of[count], tone, chance) for (name, of), tone in zip(found.items(), TONES, strict=False)
        ]
        head = f"{count} labelled note{'s' * (count > 1)} a family"
        blocks.append(
            f'<tbody><tr><th class="task" colspan="3" scope="rowgroup">{head}</th></tr>{"".join(rows)}</tbody>'
        )
    caption = "<caption>Accuracy by number of labels, with 95 % intervals</caption>"
    return f"<table>{caption}{''.join(blocks)}</table>"


def named(look: FirstLook) -> str:
    """What the first encoder makes of five labels a family, a sentence with the others beside it."""
    (first, own), *others = look.few.items()
    share = lambda found: f"{100 * found[LABELS[1]].estimate:.0f} %"
    beside = "".join(f", {name} {share(found)}" for name, found in others)
    return f"Given {LABELS[1]} labelled notes a family, {first} names {share(own)} of notes of new instruments{beside}."


def neighbours_table(asked: Sequence[Sound], found: Sequence[Sequence[Sound]]) -> str:
    """An HTML table of sounds with a player: each that is asked for, and its neighbours."""
    head = "".join(f"<th>{title}</th>" for title in ("sound", *["nearest", "second", "third", "fourth"][:NEIGHBOURS]))
    body = "".join(f"<tr>{''.join(map(_sound, [one, *others]))}</tr>" for one, others in zip(asked, found, strict=True))
    return f'<table class="list across sounds"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _sound(sound: Sound) -> str:
    name, file = sound
    data = b64encode(file.read_bytes()).decode("ascii")
    return f'<td>{escape(name)}<audio controls preload="none" src="data:audio/flac;base64,{data}"></audio></td>'
