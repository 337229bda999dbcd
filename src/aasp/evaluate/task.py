"""A labelled task: the target of each clip, and the train, validation and test clips.

A labelled set has either the parts `train`, `valid` (optional) and `test`, or folds (any other names, two or more)
that are tested once each; `datasets.parts` defines the names. A sound is in only one of them.
The validation clips, if the set has no valid part:

- "next_fold": for folds, the next one (cyclic); the others train.
- "held_out": a tenth of the clips that are not tested, in whole groups. Also used for two folds, or train and test
  alone.

n clips, K classes. Source: official folds and parts; the held-out tenth is EVAR's (ESC-50, UrbanSound8K), whole groups
ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aasp.datasets.index import Skipped
from aasp.datasets.labelled import LabelledSet, ordered
from aasp.datasets.parts import PARTS, TEST, TRAIN, parts_or_folds
from aasp.datasets.repeats import joined, keep_apart
from aasp.errors import AaspError
from aasp.evaluate.metrics import absent_classes

HELD_OUT = 0.1
FEW = 6
"""With fewer clips of a class, intervals of mAP are too high (docs/evaluation.md)."""

Choose = Literal["next_fold", "held_out"]


@dataclass(frozen=True)
class Round:
    """One training and test: indices of the clips that train candidates, choose among them, and are scored once."""

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @property
    def refit(self) -> np.ndarray:
        """All clips but the test part, in the order of the index: the chosen head is trained on them."""
        return np.sort(np.concatenate([self.train, self.valid]))


@dataclass(frozen=True)
class Task:
    """Labels, classes, groups and rounds of one evaluation; built by `Task.of`.

    Attributes:
        y: class indices (n,), or multi-hot (n, K); or the numbers to predict, float64 (n,).
        classes: K names in the official order; a split need not have them all.
        rounds: one per fold, or a single one.
        groups: of each clip (n,), or None.
        notes: remarks for readers of the score, the set's own notes first.
        missing: missing clips of the set.
    """

    y: np.ndarray
    classes: list[str]
    rounds: list[Round]
    groups: np.ndarray | None
    notes: list[str] = field(default_factory=list)
    missing: Sequence[Skipped] = ()

    @property
    def multilabel(self) -> bool:
        return self.y.ndim == 2

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted rather than classes."""
        return self.y.dtype.kind == "f"

    @property
    def test(self) -> np.ndarray:
        """Indices of all clips that some round scores, in the order of the set."""
        return np.sort(np.concatenate([r.test for r in self.rounds]))

    @classmethod
    def of(cls, labelled: LabelledSet, *, choose: Choose, seed: int = 0) -> Task:
        """The task of a labelled set.

        Args:
            labelled: clips with labels, parts or folds, and groups.
            choose: source of the validation clips if there is no valid part (see above).
            seed: seed of the held-out tenth.

        Raises:
            AaspError: missing, unknown or several labels, an unknown part, no test or train part, fewer than two folds
                or classes, a sound in two parts or folds, or no label of the test part in the train part.
        """
        try:
            y = _encode(labelled)
            split = _split(labelled)
            keep_apart(labelled.sounds, split, labelled.repeats)
            # Rows of one sound are not independent: they are held out together, and are one cluster of intervals.
            each = np.arange(len(labelled)) if labelled.groups is None else np.array(labelled.groups)
            each = joined(each, labelled.repeats)
            rounds = _rounds(split, each, choose, seed)
            group = None if labelled.groups is None and not labelled.repeats else each.astype(str)
            task = cls(y, list(labelled.classes), rounds, group, list(labelled.notes), labelled.missing)
            task.notes.extend(_remarks(task, refitted=choose == "next_fold"))
        except AaspError as error:
            raise AaspError(f"{labelled.source}: {error}") from None
        return task


def _encode(labelled: LabelledSet) -> np.ndarray:
    """Class indices (n,) or multi-hot labels (n, K); or numbers (n,)."""
    if labelled.values is not None:
        return np.array(labelled.values, dtype=np.float64)
    number = {name: k for k, name in enumerate(labelled.classes)}
    unknown = {name for names in labelled.labels for name in names} - number.keys()
    if unknown:
        raise AaspError(f"labels: {_few(sorted(unknown))} not among the {len(number)} classes; correct the labels")
    if labelled.multilabel:
        hot = np.zeros((len(labelled), len(number)), dtype=bool)
        for row, names in enumerate(labelled.labels):
            hot[row, [number[name] for name in names]] = True
        return hot
    empty = sum(not names for names in labelled.labels)
    if empty:
        raise AaspError(f"labels: {empty} of {len(labelled)} clips have none; label them or take them out of the index")
    several = next((names for names in labelled.labels if len(names) > 1), None)
    if several:
        raise AaspError(f"labels: a clip has {len(several)} ({_few(several)}), but the set has one per clip; keep one")
    if len({names[0] for names in labelled.labels}) < 2:
        raise AaspError(f"labels: 1 class in {len(labelled)} clips; at least two are needed")
    return np.array([number[names[0]] for names in labelled.labels])


def _split(labelled: LabelledSet) -> np.ndarray:
    """The part or fold of each clip, (n,)."""
    empty = sum(not part.strip() for part in labelled.parts)
    if empty:
        raise AaspError(f"split: {empty} of {len(labelled)} clips have no part or fold; fill the column")
    try:
        split = parts_or_folds(labelled.parts, any_name=True)
    except AaspError as error:
        raise AaspError(f"split: {error}") from None
    values = set(split)
    absent = [part for part in (TRAIN, TEST) if part not in values] if values <= set(PARTS) else []
    if absent:
        found = ", ".join(repr(name) for name in sorted(set(labelled.parts)))
        raise AaspError(f"split: no clip is in part {absent[0]!r}, only in {found}; there must be train and test")
    return np.array(split)


def _rounds(split: np.ndarray, group: np.ndarray, choose: Choose, seed: int) -> list[Round]:
    values = set(split.tolist())
    if values <= set(PARTS):
        train, valid, test = (np.flatnonzero(split == part) for part in PARTS)
        return [_round("test", train, valid, test, group, seed)]
    folds = ordered(values)
    if len(folds) < 2:
        raise AaspError(f"split: a single fold {folds[0]!r}; use train/valid/test, or two or more folds")
    rounds = []
    for k, fold in enumerate(folds):
        # With two folds there is none left for validation.
        chooser = folds[(k + 1) % len(folds)] if len(folds) > 2 and choose == "next_fold" else None
        test, valid = np.flatnonzero(split == fold), np.flatnonzero(split == chooser)
        train = np.flatnonzero((split != fold) & (split != chooser))
        rounds.append(_round(fold, train, valid, test, group, seed))
    return rounds


def _round(name: str, train: np.ndarray, valid: np.ndarray, test: np.ndarray, group: np.ndarray, seed: int) -> Round:
    if not valid.size:
        train, valid = _hold_out(train, group[train], seed)
    return Round(name, train, valid, test)


def _hold_out(train: np.ndarray, groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled whole groups until a tenth of the clips is held out; at least one group on either side.

    A group that is larger than a tenth by itself is held out only if no others are left, and together with others only
    up to a fifth in total; beyond that less than a tenth is held out.
    """
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if names.size < 2:
        raise AaspError(f"split: no valid part, and the train part is one group {str(names[0])!r}; add a valid part")
    order = np.random.default_rng(seed).permutation(names.size)
    order = order[np.argsort(sizes[order] > HELD_OUT * train.size, kind="stable")]
    held_out, tenth = np.cumsum(sizes[order]), HELD_OUT * train.size
    wanted = 1 + int(np.searchsorted(held_out, tenth))
    if wanted > 1 and held_out[wanted - 1] > 2 * tenth:
        wanted -= 1
    held = np.isin(group, order[: min(wanted, names.size - 1)])
    return train[~held], train[held]


def _remarks(task: Task, *, refitted: bool) -> list[str]:
    """Remarks for readers of the score: classes never trained or too rare, groups in train and test, a single group."""
    remarks = []
    for r in task.rounds:
        if task.regression:
            for rows, what in ((r.train, "is trained on"), (r.test, "tests")):
                if np.ptp(task.y[rows]) == 0:
                    text = f"labels: all {len(rows):,} clips that part {r.name!r} {what} have the number"
                    raise AaspError(f"{text} {task.y[rows[0]]:g}; correct the split or the labels")
            if np.ptp(task.y[r.valid]) == 0:
                text = f"all {len(r.valid):,} validation clips have the number {task.y[r.valid[0]]:g}"
                remarks.append(
                    f"{r.name}: {text}: the squared error chooses instead; its negative is the validation score"
                )
            remarks += _torn(task, r)
            continue
        fitted = r.refit if refitted else r.train
        untrained, untested = (set(absent_classes(task.y[part], task.classes)) for part in (fitted, r.test))
        unseen = [name for name in task.classes if name in untrained - untested]
        if len(unseen) + len(untested) == len(task.classes):
            raise AaspError(f"labels: none of test part {r.name!r} occurs in its train part; check label and split")
        if unseen:
            remarks.append(f"{r.name}: {len(unseen)} label(s) only in the test part, never predicted: {_few(unseen)}")
        if task.multilabel:
            clips_K = task.y[r.test].sum(axis=0)
            rare = [name for name, clips in zip(task.classes, clips_K.tolist(), strict=True) if 0 < clips < FEW]
            text = f"{len(rare)} label(s) with fewer than {FEW} tested clips; intervals of mAP are too high"
            remarks += [f"{r.name}: {text}: {_few(rare)}"] if rare else []
        remarks += _torn(task, r)
    single: list[str] = []
    if not task.regression:
        count = task.y.sum(axis=0) if task.multilabel else np.bincount(task.y, minlength=len(task.classes))
        single = [name for name, clips in zip(task.classes, count.tolist(), strict=True) if clips == 1]
    if single:
        remarks.append(f"{len(single)} class(es) of one clip, trained or tested but not both: {_few(single)}")
    if task.groups is not None and len(set(task.groups[task.test].tolist())) == 1:
        only = str(task.groups[task.test][0])
        remarks.append(f"all test clips are in one group {only!r}: intervals resample clips instead")
    return remarks


def _torn(task: Task, r: Round) -> list[str]:
    """The remark on groups that are in both train and test, if any."""
    if task.groups is None:
        return []
    torn = sorted(set(task.groups[r.refit].tolist()) & set(task.groups[r.test].tolist()))
    return [f"{r.name}: {len(torn)} group(s) in both train and test: {_few(torn)}"] if torn else []


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
