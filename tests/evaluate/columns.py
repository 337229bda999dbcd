"""Lets tests write a task down as columns."""

from __future__ import annotations

from collections.abc import Sequence

from aasp.datasets.labelled import LabelledSet
from aasp.evaluate.task import Choose, Task


def task_of(
    labels: Sequence[object],
    split: Sequence[object],
    groups: Sequence[object] | None = None,
    *,
    choose: Choose = "next_fold",
    seed: int = 0,
) -> Task:
    """The task of n clips whose labels, parts and groups are given as columns; `;` separates labels."""
    return Task.of(set_of(labels, split, groups), choose=choose, seed=seed)


def set_of(labels: Sequence[object], split: Sequence[object], groups: Sequence[object] | None = None) -> LabelledSet:
    """The labelled set of such columns."""
    text = lambda value: "" if value is None else str(value)
    sets = [tuple(name.strip() for name in text(one).split(";") if name.strip()) for one in labels]
    classes = {name for one in sets for name in one}
    return LabelledSet(
        name="columns",
        source="columns",
        sounds=[f"{i}.wav" for i in range(len(sets))],
        labels=sets,
        parts=[text(part) for part in split],
        classes=sorted(classes, key=lambda name: (int(name) if name.isdecimal() else 0, name)),
        groups=None if groups is None else [text(group) for group in groups],
        multilabel=any(";" in text(one) for one in labels),
    )
