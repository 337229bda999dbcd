"""The description of a benchmark, and how a copy on disk is read and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError


@dataclass(frozen=True)
class Download:
    """A download: its content, URL and licence."""

    what: str
    url: str
    licence: str


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of the field in its published layout.

    Attributes:
        name: identifier: esc50, nsynth_family, …
        title: for display: ESC-50, NSynth (family), …
        task: a short description.
        metric: accuracy, or mAP for several labels per clip.
        clip_seconds: usual length of the input, to which fine-tuning crops or pads.
        classes: published number of classes.
        counts: published number of clips per part or fold.
        downloads: files to download.
        layout: the tree under the root, for display, one line each.
        reference: the publication, and the source of the split if it is another.
        read: reads a root folder, without comparing counts; raises AaspError in one line for a wrong tree.
        normalisation: the usual log-mel mean and deviation (EAT's); None if those of AudioSet are used.
        all_occur: whether each class has a clip in a complete copy; some of NSynth's 128 pitches have none.
    """

    name: str
    title: str
    task: str
    metric: Literal["accuracy", "mAP"]
    clip_seconds: float
    classes: int
    counts: Mapping[str, int]
    downloads: tuple[Download, ...]
    layout: tuple[str, ...]
    reference: str
    read: Callable[[Path], LabelledSet]
    normalisation: tuple[float, float] | None = None
    all_occur: bool = True

    def open(self, root: str | Path) -> LabelledSet:
        """Read a copy; differences from the published set are in its `notes`.

        Raises:
            AaspError: there is no such folder, or its layout is not the published one.
        """
        folder = Path(root)
        if not folder.is_dir():
            raise AaspError(f"{self.name}: no such folder: {root}; `aasp benchmarks {self.name}` says what to download")
        found = self.read(folder)
        return replace(found, notes=[*found.notes, *self.differences(found)])

    def differences(self, found: LabelledSet) -> list[str]:
        """Differences of a copy's counts from the published ones, one line each; empty if there are none."""
        counts, lines = Counter(found.parts), []
        for part in [*self.counts, *(part for part in counts if part not in self.counts)]:
            if counts[part] != self.counts.get(part, 0):
                lines.append(f"part {part}: {counts[part]:,} clips, published {self.counts.get(part, 0):,}")
        present = {label for labels in found.labels for label in labels}
        if self.all_occur and len(present) != self.classes:
            lines.append(f"classes with a clip: {len(present)}, published {self.classes}")
        torn = _torn(found) if set(self.counts).isdisjoint(("train", "valid", "test")) else []
        if torn:
            lines.append(f"groups in more than one fold: {len(torn)}, the first {torn[0]}; folds keep them together")
        if found.missing:
            first = found.missing[0]
            lines.append(f"missing: {len(found.missing):,} clips, the first {first.path}: {first.reason}")
        return lines


def _torn(found: LabelledSet) -> list[str]:
    """Groups (source recordings) that have clips in more than one fold."""
    folds: dict[str, set[str]] = {}
    for group, fold in zip(found.groups or (), found.parts, strict=found.groups is not None):
        folds.setdefault(group, set()).add(fold)
    return [group for group, several in folds.items() if len(several) > 1]
