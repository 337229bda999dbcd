"""Description of a benchmark, and how a copy on disk is read and checked."""

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
    """A download: what, from where, under which licence."""

    what: str
    url: str
    licence: str


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of the field in its published layout.

    Attributes:
        name: as typed: esc50, nsynth_family, …
        title: as written: ESC-50, NSynth (family), …
        task: a short description.
        metric: accuracy, or mAP for several labels per clip.
        clip_seconds: the field's unit of input: what fine-tuning crops or pads to.
        classes: their published number.
        counts: published clips per part or fold.
        downloads: what to get.
        layout: the tree under the root, for people, one line each.
        reference: the publication, and where the split comes from where that is another.
        read: reads a root folder as it is, without comparing; raises AaspError in one line for a wrong tree.
        normalisation: the log-mel mean and deviation that the field uses for it (EAT's), None where it uses AudioSet's.
        all_occur: whether each class has a clip in a whole copy; of NSynth's 128 pitch numbers some have none.
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
        """Read a copy; what differs from the published set is in its `notes`.

        Raises:
            AaspError: there is no such folder, or it is not laid out as published.
        """
        folder = Path(root)
        if not folder.is_dir():
            raise AaspError(f"{self.name}: no such folder: {root}; `aasp benchmarks {self.name}` says what to download")
        found = self.read(folder)
        return replace(found, notes=[*found.notes, *self.differences(found)])

    def differences(self, found: LabelledSet) -> list[str]:
        """How a copy's counts differ from the published ones, a line each; empty if they don't."""
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
