"""A labelled set as every evaluation takes it: sounds, labels, parts or folds, and groups, in one order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from aasp.audio.channels import Channels, checked
from aasp.audio.sounds import Sound, channels_of, chosen, describe, files
from aasp.datasets.events import Event
from aasp.datasets.index import Skipped
from aasp.datasets.repeats import Repeat, repeats
from aasp.errors import AaspError

LARGEST = 1e100
"""Labels that are numbers are smaller: their squares are summed."""


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
        events: of each clip its events, where they are known: its labels are then those of its events.
        values: of each clip a number to predict from it, where the set is one of numbers: `classes` is then the
            one name of what they are.
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
    events: Sequence[Sequence[Event]] | None = None
    values: Sequence[float] | None = None

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
            events=None if self.events is None else keep(self.events),
            values=None if self.values is None else keep(self.values),
            missing=[*self.missing, *missing],
        )

    def choosing(self, channels: Channels | str) -> LabelledSet:
        """The set with a choice of its files' channels, for clips that don't have one of their own.

        With "each", every channel of a file is a clip of its own, and those of one file are a group where the set has
        no groups.

        Raises:
            AaspError: there is no such choice, or a file can't be used.
        """
        default = checked(channels)
        requested = [own if (own := channels_of(sound)) != "mean" else default for sound in self.sounds]
        if set(requested) <= {"mean"}:
            return self
        found = [chosen(sound, choice) for sound, choice in zip(self.sounds, requested, strict=True)]
        repeated = lambda values: [value for value, ones in zip(values, found, strict=True) for _ in ones]
        groups = self.groups
        if groups is None and "each" in requested:
            groups = [" + ".join(files(sound)) for sound in self.sounds]
        return replace(
            self,
            sounds=[one for ones in found for one in ones],
            labels=repeated(self.labels),
            parts=repeated(self.parts),
            groups=None if groups is None else repeated(groups),
            events=None if self.events is None else repeated(self.events),
            values=None if self.values is None else repeated(self.values),
        )

    def as_numbers(self) -> LabelledSet:
        """The set with its labels read as numbers, one a clip, which are to be predicted rather than classified.

        Raises:
            AaspError: a clip has no label or several, or one that is no finite number; or all have the same.
        """
        values = []
        for sound, labels in zip(self.sounds, self.labels, strict=True):
            text = f"{self.source}: label {';'.join(labels) or 'none'!r} of {describe(sound)} is not a number"
            try:
                (value,) = map(float, labels)
            except ValueError:
                raise AaspError(f"{text}; correct it, or leave out --task regression") from None
            if not math.isfinite(value):
                raise AaspError(f"{text} that is finite; correct it, or take the clip out")
            if abs(value) > LARGEST:
                raise AaspError(f"{text} under {LARGEST:g}, whose square can be computed; use another unit")
            values.append(value)
        if len(set(values)) < 2:
            raise AaspError(
                f"{self.source}: all {len(values):,} clips have the number {values[0]:g}; nothing to predict"
            )
        return replace(self, classes=("value",), values=values, multilabel=False)
