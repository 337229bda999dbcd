"""A labelled set as every evaluation takes it: sounds, labels, parts or folds, and groups, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from aasp.audio.sounds import Sound
from aasp.datasets.index import Skipped
from aasp.datasets.repeats import Repeat, repeats


@dataclass(frozen=True)
class LabelledSet:
    """n labelled clips; what a benchmark's reader returns.

    Attributes:
        name: of the benchmark, as the registry spells it.
        source: root folder or index, for messages.
        sounds: n clips.
        labels: labels of each clip; exactly one unless `multilabel`.
        parts: of each clip "train", "valid" or "test"; or its fold.
        classes: all labels there are, in the official order: a label's place is its class number.
        groups: of each clip what it has in common with others (source recording, speaker, instrument); None: unknown.
        multilabel: scored by mean average precision instead of accuracy.
        missing: clips that the set should have and that are not there or can't be used, and why.
        notes: what differs from the published set, in words.
    """

    name: str
    source: str
    sounds: Sequence[Sound]
    labels: Sequence[tuple[str, ...]]
    parts: Sequence[str]
    classes: Sequence[str]
    groups: Sequence[str] | None = None
    multilabel: bool = False
    missing: Sequence[Skipped] = ()
    notes: Sequence[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sounds)

    @cached_property
    def repeats(self) -> list[Repeat]:
        """The rows whose sound an earlier row has, under whatever name."""
        return repeats(self.sounds)

    def without(self, rows: Sequence[int], missing: Sequence[Skipped]) -> LabelledSet:
        """The set without some clips (those that turned out unusable), which `missing` then names."""
        gone = set(rows)
        keep = lambda values: [value for row, value in enumerate(values) if row not in gone]
        return replace(
            self,
            sounds=keep(self.sounds),
            labels=keep(self.labels),
            parts=keep(self.parts),
            groups=None if self.groups is None else keep(self.groups),
            missing=[*self.missing, *missing],
        )
