"""The options of commands that read labelled clips: a benchmark's copy, a folder of classes, or an index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from aasp.datasets.labelled import LabelledSet


@dataclass(frozen=True, kw_only=True)
class LabelledOptions:
    """Options of a command that reads labelled clips."""

    benchmark: str | None = None
    """Name of a benchmark (`aasp benchmarks` lists them), or folder: a directory per class."""
    root: Path | None = None
    """Folder of the benchmark's copy."""
    index: Path | None = None
    """.csv, .tsv or .parquet with a column path, in place of a benchmark."""
    label: str | None = None
    """Column of labels; several in a row, separated by ;, make the task multi-label (mAP)."""
    split: str | None = None
    """Column of train, valid (optional) and test; or of folds, each tested once."""
    group: str | None = None
    """Column of groups (recording, speaker, instrument): kept together in splits, and resampled by the intervals."""
    events: Path | None = None
    """Table of events, or a folder of them (csv, parquet, Raven, Audacity, DCASE), for the sounds of --root or --index:
    which events occur when. --label names its label column if that has an unusual name."""
    task: Literal["classes", "regression"] = "classes"
    """classes, or regression: labels are numbers, to be predicted rather than classified."""
    allow_missing: bool = False
    """Continue if files of the index are missing; they are counted in the result."""
    path_column: str | None = None
    """Column of the index that holds the paths."""
    channels: str = "mean"
    """Channel of multi-channel files: mean, first, loudest, a number (1, 2, …), or each (one clip per channel)."""

    def open(self, missing_list: Path | None) -> LabelledSet:
        """Read the set; missing files of an index, and files skipped in a folder, are listed in `missing_list`, if any.

        Raises:
            AaspError: the options contradict each other, or the data are not valid.
        """
        from aasp.datasets.benchmarks.open import open_labelled

        return open_labelled(
            self.benchmark,
            self.root,
            self.index,
            self.label,
            self.split,
            self.group,
            allow_missing=self.allow_missing,
            missing_list=missing_list,
            path_column=self.path_column,
            channels=self.channels,
            events=self.events,
            numbers=self.task == "regression",
        )
