"""A system's entry in a table for one benchmark: the mean over folds and seeds, and the deviation.

A seed's score is the unweighted mean of its folds' scores (ESC-50's five, UrbanSound8K's ten), or the score of the one
part that was tested. The mean is taken over the seeds' scores. The deviation is the sample standard deviation (with
n - 1 in the denominator) of the seeds' scores; with one seed, of its folds' scores; with one score there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aasp.datasets.parts import PARTS
from aasp.evaluate.metrics import PLAIN, plain
from aasp.evaluate.records import Record
from aasp.formats import percent_text


@dataclass(frozen=True)
class Summary:
    """The mean of some records with its deviation; scores as fractions of 1, or MAE in the unit of the labels.

    Attributes:
        mean: over seeds, each the mean over its folds.
        deviation: over seeds or folds; None if there is one score.
        over: what the deviation is taken over.
        seeds, folds: how many; folds of each seed.
        split: the part that was scored, "" for folds.
        clips: scored by each seed.
        missing: missing clips of the published set.
        interval: low and high end at 95 % of a single score, if the record has them.
        share: whether the score is shown in per cent.
    """

    mean: float
    deviation: float | None
    over: Literal["seeds", "folds"] | None
    seeds: int
    folds: int
    split: str
    clips: int
    missing: int
    interval: tuple[float, float] | None
    share: bool

    def text(self, value: float) -> str:
        """A score, an end of its interval or its deviation, rounded for display."""
        return percent_text(value) if self.share else plain(value)

    def exactly(self, value: float) -> str:
        """The same with more digits, for programs."""
        return percent_text(value, 4) if self.share else f"{value:.6g}"


def summarise(records: Sequence[Record]) -> Summary:
    """The summary of the records of one version (see `versions`)."""
    seeds = sorted({record.seed for record in records})
    folds = sorted({record.split for record in records})
    value = {(record.seed, record.split): record.value for record in records}
    assert len(value) == len(records) == len(seeds) * len(folds), "records of one version, each once"
    scores_SF = np.array([[value[seed, fold] for fold in folds] for seed in seeds])
    spread = scores_SF.mean(axis=1) if len(seeds) > 1 else scores_SF[0]
    first = records[0]
    ends = (first.low, first.high) if first.low is not None and first.high is not None else None
    return Summary(
        mean=float(scores_SF.mean()),
        deviation=float(spread.std(ddof=1)) if len(spread) > 1 else None,
        over=None if len(spread) == 1 else "seeds" if len(seeds) > 1 else "folds",
        seeds=len(seeds),
        folds=len(folds),
        split=folds[0] if folds[0] in PARTS else "",
        clips=sum(record.clips for record in records if record.seed == seeds[0]),
        missing=max(record.missing for record in records),
        interval=ends if len(records) == 1 else None,
        share=first.metric not in PLAIN,
    )


def versions(records: Sequence[Record]) -> list[list[Record]]:
    """Records of one system, benchmark, protocol and metric, grouped by what was scored; the largest group first.

    Seeds are grouped if they scored the same folds, or the same part, with the same numbers of clips; a part is never
    treated as a fold. So an unfinished seed, or a copy of the set with other clips, is never averaged with the rest.
    """
    runs: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        runs.setdefault((record.seed, record.split if record.split in PARTS else ""), []).append(record)
    groups: dict[tuple[tuple[str, int, int], ...], list[Record]] = {}
    for run in runs.values():
        scored = tuple(sorted((record.split, record.clips, record.missing) for record in run))
        groups.setdefault(scored, []).extend(run)
    return sorted(groups.values(), key=len, reverse=True)
