"""The ruler's sets, sets added by the user, and the results on each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aasp.datasets.benchmarks.open import open_labelled
from aasp.datasets.labelled import LabelledSet
from aasp.errors import AaspError
from aasp.evaluate.draws import thin_set
from aasp.evaluate.finetune.data import measured
from aasp.evaluate.finetune.few_labels import cut
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.probe import ProbeResult
from aasp.evaluate.ruler import System
from aasp.evaluate.task import Task
from harness import data_folder

# Name: index, columns of labels, of parts or folds, and of clusters.
SETS = {
    "esc10": ("esc10/index.csv", "label", "fold", "src_file"),
    "words": ("speech_commands_v2_test12_all/index.csv", "label", "split", "speaker"),
    "fsdd": ("fsdd/index.csv", "label", "fold", "speaker"),
    "family": ("nsynth_like_large/index.csv", "label", "split", "sample_group"),
    "pitch": ("nsynth_like_large/index.csv", "pitch", "split", "sample_group"),
    "esc10_mixtures": ("esc10/multilabel_recipe.csv", "labels", "split", ""),
}
ONLY_BY_NAME = ("esc10_mixtures",)  # used only if named: its clips are those of esc10
CLIPS, HOURS = 1_000, 0.75  # upper limits for a set, without --full
MIN_CLIPS = 10  # training clips of the median class: sets with fewer are not fine-tuned
CUT, WHOLE = (6, 16, 2.0), (40, 32, 5.0)  # steps, crops per step, seconds per crop
TESTED_SECONDS = 240  # of test audio for fine-tuned models, without --full


@dataclass
class Set:
    """A labelled set, possibly subsampled, and its results.

    Attributes:
        name: as given to --sets.
        labelled: its clips.
        seconds: duration of each clip, (n,).
        task: its labels, and which clips train and test.
        full: all clips are used.
        results: probe results of each system, by reading.
        ranks: of each model's default vector.
        few: fine-tuning results, by labels per class.
    """

    name: str
    labelled: LabelledSet
    seconds: np.ndarray
    task: Task
    full: bool
    results: dict[System, dict[str, ProbeResult]] = field(default_factory=dict)
    ranks: dict[System, float] = field(default_factory=dict)
    few: dict[System, dict[int, ProbeResult]] = field(default_factory=dict)

    @property
    def recipe(self) -> FinetuneRecipe:
        return cut(self.seconds, *(WHOLE if self.full else CUT))

    @property
    def most_tested(self) -> int:
        """Maximum number of clips on which fine-tuned models are tested."""
        return len(self.labelled) if self.full else max(1, int(TESTED_SECONDS / self.seconds.mean()))

    @property
    def fine_tunes(self) -> bool:
        """Whether there are enough labels to draw a few for each class."""
        if self.task.multilabel:
            return False
        counts = np.bincount(self.task.y[self.task.rounds[0].train], minlength=len(self.task.classes))
        return bool(np.median(counts) >= MIN_CLIPS)


def chosen_sets(names: str, added: Sequence[str], data: Path | None, full: bool) -> Iterator[Set]:
    """The requested sets, opened and subsampled; sets of one index share their clips.

    Args:
        names: separated by commas; if empty, all except `ONLY_BY_NAME`.
        added: each as NAME=INDEX,LABEL,SPLIT,CLUSTER.
        data: the folder of the known sets.
        full: use all clips.

    Raises:
        AaspError: an unknown or incomplete set, or an index that can't be used.
    """
    table: dict[str, tuple[str, ...]] = dict(SETS)
    for text in added:
        name, _, place = text.partition("=")
        columns = tuple(place.rsplit(",", 3))
        if not name or len(columns) < 4 or not all(columns[:3]):
            raise AaspError(f"--set {text}: give NAME=INDEX,LABEL,SPLIT,CLUSTER; an empty CLUSTER draws single clips")
        if name in table:
            raise AaspError(f"--set {text}: there is a set {name} already; give it another name")
        table[name] = columns
    wanted = names.split(",") if names else [name for name in table if name not in ONLY_BY_NAME]
    for name in dict.fromkeys(wanted):
        if name not in table:
            raise AaspError(f"--sets: no such set: {name!r}; choose from {', '.join(table)}, or add it with --set")
        index, label, split, cluster = table[name]
        path = data_folder(data) / index if name in SETS else Path(index)
        if not path.is_file():
            raise AaspError(f"set {name}: no such index: {path}; check --set, or --data and $AASP_DATA")
        labelled, seconds = measured(open_labelled(index=path, label=label, split=split, group=cluster or None))
        if not full:
            labelled, seconds = thin_set(labelled, seconds, clips=CLIPS, hours=HOURS)
        yield Set(name, labelled, seconds, Task.of(labelled, choose="next_fold"), full)
