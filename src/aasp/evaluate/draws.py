"""Subsets of clips: a representative part of a set, and a few labels per class to train on.

n clips, K classes. Source: ours; drawing few labels with a fixed seed is common practice (1, 5 and 20 shots).
"""

from __future__ import annotations

import numpy as np

from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.task import Round, Task


def thinned(rows: np.ndarray, groups: np.ndarray | None, most: int, seed: int = 0) -> np.ndarray:
    """At most `most` of some clips, spread evenly over their groups: large groups contribute more.

    Clips are ordered by group, and randomly within a group; then every k-th is taken.

    Args:
        rows: numbers of the clips.
        groups: group of each clip of the set, (n,); None ignores groups.
        most: how many to keep.
        seed: of the order within groups.

    Returns:
        A subset of `rows`, sorted.
    """
    if len(rows) <= most:
        return np.sort(rows)
    chance = np.random.default_rng(seed).random(len(rows))
    group = np.zeros(len(rows)) if groups is None else np.unique(groups[rows], return_inverse=True)[1]
    order = rows[np.lexsort((chance, group))]
    return np.sort(order[np.arange(most) * len(rows) // most])


def thin_set(labelled: LabelledSet, seconds: np.ndarray, *, clips: int, hours: float) -> tuple[LabelledSet, np.ndarray]:
    """A subset of at most `clips` clips and `hours` hours: each part or fold keeps its share, thinned within groups.

    The draw ignores labels, so that two label columns of one index keep the same clips.

    Args:
        labelled: the set.
        seconds: duration of each of its clips, (n,).
        clips, hours: upper limits.

    Returns:
        The subset, and the seconds of its clips.
    """
    share = min(1.0, clips / len(labelled), hours * 3600 / seconds.sum())
    if share == 1.0:
        return labelled, seconds
    parts = np.array(labelled.parts)
    groups = None if labelled.groups is None else np.array(labelled.groups)
    kept = np.concatenate(
        [
            thinned(rows, groups, max(1, int(share * len(rows))))
            for rows in (np.flatnonzero(parts == part) for part in sorted(set(labelled.parts)))
        ]
    )
    gone = np.setdiff1d(np.arange(len(labelled)), kept)
    return labelled.without(gone.tolist(), []), np.delete(seconds, gone)


def few(y: np.ndarray, rows: np.ndarray, per_class: int, seed: int = 0) -> np.ndarray:
    """`per_class` clips of each class, or all there are; with one seed, a smaller draw is a subset of a larger one.

    Args:
        y: class indices of the set, (n,).
        rows: clips that may be drawn.
        per_class: clips of each class.
        seed: of the draw.

    Returns:
        A subset of `rows`, sorted.
    """
    order = np.random.default_rng(seed).permutation(np.sort(rows))
    return np.sort(np.concatenate([order[y[order] == k][:per_class] for k in np.unique(y[rows])]))


def few_label_rounds(task: Task, per_class: int, most_tested: int, seed: int = 0) -> list[Round]:
    """Training clips with few labels, and test clips; there is no validation part.

    With parts: a draw of the train part, and the test part. With folds: a draw of the earlier half, tested on the later
    half, and the reverse, so that two trainings test every fold.

    Args:
        task: of a set with one label per clip.
        per_class: labels of each class.
        most_tested: largest total number of test clips; test parts are thinned to it.
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
