"""A labelled set, the input of every evaluation: sounds, labels, parts or folds, and groups, in one order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from aasp.audio.channels import Channels, checked
from aasp.audio.sounds import Sound, channels_of, chosen, describe, files
from aasp.datasets.events import Event
from aasp.datasets.index import Skipped
from aasp.datasets.repeats import Repeat, repeats
from aasp.errors import AaspError

MAX_VALUE = 1e100
"""Upper limit of numeric labels, because their squares are summed."""
_WHOLE = re.compile(r"-?\d{1,1000}")


def ordered(names: Iterable[str]) -> list[str]:
    """Names sorted as numbers if all are whole numbers, and those of one number as text (`01`, `1`); else as text."""
    names = list(names)
    return sorted(names, key=lambda name: (int(name), name)) if all(map(_WHOLE.fullmatch, names)) else sorted(names)


@dataclass(frozen=True)
class LabelledSet:
    """n labelled clips, as returned by a benchmark's reader.

    Attributes:
        name: of the benchmark, as in the registry.
        source: root folder or index, for messages.
        sounds: n clips.
        labels: labels of each clip; exactly one unless `multilabel`.
        parts: "train", "valid" or "test", or the fold, of each clip.
        classes: all labels, in the official order: a label's index is its class number.
        groups: group of each clip (source recording, speaker, instrument); None: unknown.
        multilabel: scored by mean average precision instead of accuracy.
        missing: clips of the set that are missing or can't be used, with the reason.
        notes: differences from the published set, in words.
        events: events of each clip, if they are known: a clip's labels are then those of its events.
        values: the number to predict for each clip, if labels are numbers: `classes` is then the one name of the
            quantity.
        column: the column of labels of an index.
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
    column: str = "label"

    @property
    def task_name(self) -> str:
        """The name, with the column of labels if that is not `label`: two columns of one index are two tasks."""
        return self.name if self.column == "label" else f"{self.name} {self.column}"

    def __len__(self) -> int:
        return len(self.sounds)

    @cached_property
    def repeats(self) -> list[Repeat]:
        """The rows whose sound also occurs in an earlier row, under any name."""
        return repeats(self.sounds)

    def without(self, rows: Sequence[int], missing: Sequence[Skipped]) -> LabelledSet:
        """The set without some clips that turned out unusable; `missing` are their entries."""
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
        """The set with a choice of channels, for clips without their own choice.

        With "each", every channel of a file is a separate clip, and those of one file are a group if the set has no
        groups.

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
        """The set with its labels as numbers, one per clip, for regression instead of classification.

        Raises:
            AaspError: a clip has no label or several, or one that is not a finite number; or all are the same.
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
            if abs(value) > MAX_VALUE:
                raise AaspError(f"{text} under {MAX_VALUE:g}, whose square can be computed; use another unit")
            values.append(value)
        if len(set(values)) < 2:
            raise AaspError(
                f"{self.source}: all {len(values):,} clips have the number {values[0]:g}; nothing to predict"
            )
        return replace(self, classes=("value",), values=values, multilabel=False)
