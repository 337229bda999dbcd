"""Subsets of clips: a representative part of a set, and a few labels per class to train on.

n clips, K classes. Source: ours; drawing few labels with a fixed seed is the field's habit (1, 5 and 20 shots).
"""

from __future__ import annotations

import numpy as np

from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.task import Round, Task


def thinned(rows: np.ndarray, groups: np.ndarray | None, most: int, seed: int = 0) -> np.ndarray:
    """At most so many of some clips, spread evenly over their groups: large groups give more.

    Every k-th clip is taken of all in the order of their groups, in a random order within each.

    Args:
        rows: numbers of the clips.
        groups: group of each clip of the set, (n,); None takes clips one by one.
        most: how many to keep.
        seed: of the order within groups.

    Returns:
        Some of `rows`, sorted.
    """
    if len(rows) <= most:
        return np.sort(rows)
    chance = np.random.default_rng(seed).random(len(rows))
    group = np.zeros(len(rows)) if groups is None else np.unique(groups[rows], return_inverse=True)[1]
    order = rows[np.lexsort((chance, group))]
    return np.sort(order[np.arange(most) * len(rows) // most])


def thin_set(
    labelled: LabelledSet, seconds: np.ndarray, *, clips: int, hours: float, seed: int = 0
) -> tuple[LabelledSet, np.ndarray]:
    """A set of at most so many clips and hours: each part or fold keeps its share, thinned within groups.

    The draw does not look at labels, so that two labels of one index keep the same clips.

    Args:
        labelled: the set.
        seconds: duration of each of its clips, (n,).
        clips, hours: the most of each that is kept.
        seed: of the draw.

    Returns:
        The thinner set, and the seconds of its clips.
    """
    share = min(1.0, clips / len(labelled), hours * 3600 / seconds.sum())
    if share == 1.0:
        return labelled, seconds
    parts = np.array(labelled.parts)
    groups = None if labelled.groups is None else np.array(labelled.groups)
    kept = np.concatenate(
        [
            thinned(rows, groups, max(1, int(share * len(rows))), seed)
            for rows in (np.flatnonzero(parts == part) for part in sorted(set(labelled.parts)))
        ]
    )
    gone = np.setdiff1d(np.arange(len(labelled)), kept)
    return labelled.without(gone.tolist(), []), np.delete(seconds, gone)


def few(y: np.ndarray, rows: np.ndarray, per_class: int, seed: int = 0) -> np.ndarray:
    """So many clips of each class, or all there are; more of a class are the fewer and others.

    Args:
        y: class indices of the set, (n,).
        rows: what may be drawn.
        per_class: clips of each class.
        seed: of the draw.

    Returns:
        Some of `rows`, sorted.
    """
    order = np.random.default_rng(seed).permutation(np.sort(rows))
    return np.sort(np.concatenate([order[y[order] == k][:per_class] for k in np.unique(y[rows])]))


def few_label_rounds(task: Task, per_class: int, most_tested: int, seed: int = 0) -> list[Round]:
    """Training clips with few labels, and test clips; there is no validation part.

    Of parts: a draw of the train part, and the test part. Of folds: a draw of the earlier half of them, tested on the
    later, and the reverse, so that every fold is tested and two trainings do for all.

    Args:
        task: of a set with one label per clip.
        per_class: labels of each class.
        most_tested: clips that are tested in all; the test part is thinned to them.
        seed: of both draws.
    """
    if len(task.rounds) == 1:
        (only,) = task.rounds
        pairs = [(only.name, only.train, only.test)]
    else:
        half = (len(task.rounds) + 1) // 2
        one, two = (np.concatenate([r.test for r in some]) for some in (task.rounds[:half], task.rounds[half:]))
        pairs = [("later folds", one, two), ("earlier folds", two, one)]
    none = np.array([], dtype=int)
    share = min(1.0, most_tested / sum(len(test) for _, _, test in pairs))
    return [
        Round(
            name,
            few(task.y, train, per_class, seed),
            none,
            thinned(test, task.groups, max(1, round(share * len(test))), seed),
        )
        for name, train, test in pairs
    ]
