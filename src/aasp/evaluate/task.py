"""A labelled task: what is asked of each clip, and which clips train, choose and test.

A split column holds either the parts `train`, `valid` (optional), `test`, or folds (any other values, two or more):
each fold is tested once, the next one (cyclic) chooses, the others train. Where there is nothing to choose on, a tenth
of the train part is held out, whole groups together.

n clips, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aasp.errors import AaspError
from aasp.evaluate.metrics import absent_classes

PARTS = ("train", "valid", "test")
HELD_OUT = 0.1


@dataclass(frozen=True)
class Round:
    """One training and test: indices of the clips that fit candidates, choose among them, and are scored once."""

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @property
    def refit(self) -> np.ndarray:
        """Everything but the test part, in the order of the index: what the chosen head is trained on."""
        return np.sort(np.concatenate([self.train, self.valid]))


@dataclass(frozen=True)
class Task:
    """Labels, classes, groups and rounds of one evaluation; built by `Task.from_columns`."""

    y: np.ndarray  # class indices (n,), or multi-hot (n, K)
    classes: list[str]
    rounds: list[Round]
    groups: np.ndarray | None  # (n,)
    notes: list[str] = field(default_factory=list)

    @property
    def multilabel(self) -> bool:
        return self.y.ndim == 2

    @property
    def test(self) -> np.ndarray:
        """Indices of all clips that some round scores, in the order of the index."""
        return np.sort(np.concatenate([r.test for r in self.rounds]))

    @classmethod
    def from_columns(
        cls, labels: Sequence[object], split: Sequence[object], groups: Sequence[object] | None = None, *, seed: int = 0
    ) -> Task:
        """Build a task from columns of an index, each of length n.

        Args:
            labels: label per clip; `;` separates several labels of a clip and makes the whole task multi-label (a clip
                may then have none).
            split: part or fold per clip.
            groups: source recording, speaker, instrument …: what must not be torn apart when a validation part is
                held out, and what intervals draw.
            seed: seed of the held-out tenth.

        Raises:
            AaspError: missing labels, an unknown part, no test or train part, fewer than two folds or classes, or no
                label of the test part in the train part.
        """
        y, classes = _encode([_text(label) for label in labels])
        group = None if groups is None else np.array([_text(g) for g in groups])
        rounds = _rounds(np.array([_text(part) for part in split]), group, seed)
        task = cls(y, classes, rounds, group)
        for r in rounds:
            task.notes.extend(_remarks(task, r))
        if group is not None and len(set(group[task.test].tolist())) == 1:
            only = str(group[task.test][0])
            task.notes.append(f"all test clips are of one group {only!r}: intervals draw clips instead")
        return task


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _encode(labels: list[str]) -> tuple[np.ndarray, list[str]]:
    if any(";" in label for label in labels):
        sets = [{part.strip() for part in label.split(";")} - {""} for label in labels]
        classes = _ordered(set().union(*sets))
        return np.array([[name in one for name in classes] for one in sets]), classes
    empty = labels.count("")
    if empty:
        raise AaspError(f"labels: {empty} of {len(labels)} clips have none; label them or take them out of the index")
    classes = _ordered(set(labels))
    if len(classes) < 2:
        raise AaspError(f"labels: {len(classes)} class(es) in {len(labels)} clips; a probe needs two or more")
    number = {name: k for k, name in enumerate(classes)}
    return np.array([number[label] for label in labels]), classes


def _ordered(values: set[str]) -> list[str]:
    """Sorted as numbers where all are whole numbers, else as text."""
    return sorted(values, key=int) if all(v.lstrip("-").isdecimal() for v in values) else sorted(values)


def _rounds(split: np.ndarray, group: np.ndarray | None, seed: int) -> list[Round]:
    values = set(split.tolist())
    if "" in values:
        raise AaspError(f"split: {(split == '').sum()} of {len(split)} clips have no part or fold; fill the column")
    if values & set(PARTS):
        if values - set(PARTS):
            raise AaspError(f"split: unknown part {sorted(values - set(PARTS))[0]!r}; use train, valid and test")
        for part in ("train", "test"):
            if part not in values:
                raise AaspError(f"split: no clip is in part {part!r}; a probe needs train and test")
        train, valid, test = (np.flatnonzero(split == part) for part in PARTS)
        return [_round("test", train, valid, test, group, seed)]
    folds = _ordered(values)
    if len(folds) < 2:
        raise AaspError(f"split: a single fold {folds[0]!r}; use train/valid/test, or two or more folds")
    rounds = []
    for k, fold in enumerate(folds):
        # With two folds there is none left to choose on.
        chooser = folds[(k + 1) % len(folds)] if len(folds) > 2 else None
        test, valid = np.flatnonzero(split == fold), np.flatnonzero(split == chooser)
        train = np.flatnonzero((split != fold) & (split != chooser))
        rounds.append(_round(fold, train, valid, test, group, seed))
    return rounds


def _round(
    name: str, train: np.ndarray, valid: np.ndarray, test: np.ndarray, group: np.ndarray | None, seed: int
) -> Round:
    if not valid.size:
        train, valid = _hold_out(train, np.arange(train.size) if group is None else group[train], seed)
    return Round(name, train, valid, test)


def _hold_out(train: np.ndarray, groups: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled whole groups until a tenth of the clips is held out; at least one group on either side."""
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if names.size < 2:
        raise AaspError(f"split: no valid part, and the train part is one group {str(names[0])!r}; add a valid part")
    order = np.random.default_rng(seed).permutation(names.size)
    wanted = 1 + int(np.searchsorted(np.cumsum(sizes[order]), HELD_OUT * train.size))
    held = np.isin(group, order[: min(wanted, names.size - 1)])
    return train[~held], train[held]


def _remarks(task: Task, r: Round) -> list[str]:
    """What a reader of the score should know of a round: classes never trained, torn groups, a single group."""
    remarks = []
    untrained, untested = (set(absent_classes(task.y[part], task.classes)) for part in (r.refit, r.test))
    unseen = [name for name in task.classes if name in untrained - untested]
    if len(unseen) + len(untested) == len(task.classes):
        raise AaspError(f"labels: none of test part {r.name!r} occurs in its train part; check label and split")
    if unseen:
        remarks.append(f"{r.name}: {len(unseen)} label(s) only in the test part, never predicted: {_few(unseen)}")
    if task.groups is not None:
        trained, tested = set(task.groups[r.refit].tolist()), set(task.groups[r.test].tolist())
        if trained & tested:
            torn = sorted(trained & tested)
            remarks.append(f"{r.name}: {len(torn)} group(s) in both train and test: {_few(torn)}")
    return remarks


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
