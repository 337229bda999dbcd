"""What was observed, in numbers with intervals, as JSON values: by row, by family, and between models.

Intervals are 95 % bootstraps over clips, or over groups of clips where there are groups; two models are paired.

n clips, R modulation rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from aasp.aliasing.stability.clipwise import Clipwise, Reading
from aasp.aliasing.stability.measure import Alignment
from aasp.aliasing.stability.observe import Observed
from aasp.aliasing.stability.rows import FAMILIES, RATES, Row
from aasp.evaluate.intervals import Interval, Statistic, interval

Told = dict[str, float | None]
RESAMPLES, QUICK = 1_000, 300
"""For an interval, of which there are over a thousand; and for one that takes n² each."""


def told(scores: np.ndarray, groups: np.ndarray, *, minus: np.ndarray | None = None) -> Told | None:
    """A mean over the clips that have a value, its interval, and their number; None where that is undefined.

    Args:
        scores: a value a clip, shape (n,), NaN where there is none.
        groups: shape (n,).
        minus: likewise, another model's, to be paired.
    """
    known = np.isfinite(scores if minus is None else scores - minus)
    if len(np.unique(groups[known])) < 2:
        return None
    other = None if minus is None else minus[known]
    return _told(interval(scores[known], minus=other, clusters=groups[known], resamples=RESAMPLES))


def of_rows(table: Sequence[Row], clips: Clipwise, subject: Observed, groups: np.ndarray) -> dict[str, dict[str, Any]]:
    """Of each row: every array of `clips`, and `alignment`."""
    found: dict[str, dict[str, Any]] = {}
    for row in table:
        values = clips.values[row.key]
        found[row.key] = {name: told(value, groups) for name, value in values.items()}
        alignment = Alignment(subject.reference.clip, subject.clip[row.key])
        found[row.key]["alignment"] = _told_of(alignment, groups, QUICK)
    return found


def of_families(table: Sequence[Row], clips: Clipwise, groups: np.ndarray) -> dict[str, dict[str, Any]]:
    """Of each family: means over its rows, and `ratio`, its mean distance over its control's."""
    found: dict[str, dict[str, Any]] = {}
    for family, keys in families(table).items():
        names = clips.values[keys[0]].keys()
        found[family] = {name: told(_pooled(clips, keys, name), groups) for name in names}
        found[family]["ratio"] = _ratio(clips, keys, groups)
    return found


def of_reading(reading: Reading, groups: np.ndarray) -> dict[str, Any]:
    """How often the rate was read right: `heard`, `compared`, and `heard` rate by rate; `confusion` in counts."""
    right = reading.heard == np.arange(len(RATES))[:, None]
    confusion = [np.bincount(row, minlength=len(RATES)).tolist() for row in reading.heard]
    return {
        "heard": told(right.mean(0), groups),
        "compared": told(_share_right(reading.compared), groups),
        "by_rate": [told(row.astype(float), groups) for row in right],
        "confusion": confusion,
    }


def leads(table: Sequence[Row], ours: Clipwise, theirs: Clipwise, groups: np.ndarray) -> dict[str, Any]:
    """One model's numbers minus another's, paired clip by clip: of each family, and of the reading."""
    by_family: dict[str, dict[str, Any]] = {}
    for family, keys in families(table).items():
        by_family[family] = {
            name: told(_pooled(ours, keys, name), groups, minus=_pooled(theirs, keys, name))
            for name in ours.values[keys[0]]
        }
        by_family[family]["ratio"] = _ratio(ours, keys, groups, minus=theirs)
    return {
        "families": by_family,
        "heard": told(_share_right(ours.reading.heard), groups, minus=_share_right(theirs.reading.heard)),
        "compared": told(_share_right(ours.reading.compared), groups, minus=_share_right(theirs.reading.compared)),
    }


def families(table: Sequence[Row]) -> dict[str, list[str]]:
    """Keys of the rows of each of FAMILIES, in its order; those without rows left out."""
    found = {family: [row.key for row in table if row.family == family] for family in FAMILIES}
    return {family: keys for family, keys in found.items() if keys}


def _pooled(clips: Clipwise, keys: Iterable[str], name: str) -> np.ndarray:
    """Mean over rows of each clip's known values, NaN where none is, shape (n,)."""
    values = np.stack([clips.values[key][name] for key in keys])
    known = np.isfinite(values)
    return np.where(known.any(0), np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def _ratio(clips: Clipwise, keys: Sequence[str], groups: np.ndarray, minus: Clipwise | None = None) -> Told | None:
    """Mean distance over rows and clips over that of the control, where the control is known."""
    known = np.stack([np.isfinite(clips.values[key]["control_distance"]) for key in keys])
    seen = known.any(0)
    if len(np.unique(groups[seen])) < 2:
        return None

    def statistic(one: Clipwise) -> Statistic:
        total = lambda name: np.where(known, [one.values[key][name] for key in keys], 0.0).sum(0)[seen]
        moved, control = total("distance"), total("control_distance")
        # An encoder that the control doesn't move at all has no ratio.
        return lambda weights: float(weights @ moved / still) if (still := weights @ control) > 0 else np.nan

    return _told_of(statistic(clips), groups[seen], RESAMPLES, minus=None if minus is None else statistic(minus))


def _share_right(read_Rn: np.ndarray) -> np.ndarray:
    return (read_Rn == np.arange(len(read_Rn))[:, None]).mean(0)


def _told_of(one: Statistic, groups: np.ndarray, resamples: int, minus: Statistic | None = None) -> Told | None:
    """Of functions of clip weights; None where they are undefined for the clips as they are."""
    given = [one] if minus is None else [one, minus]
    if not all(np.isfinite(statistic(np.ones(len(groups)))) for statistic in given):
        return None
    other = None if minus is None else [minus]
    return _told(interval([one], minus=other, clusters=groups, resamples=resamples))


def _told(found: Interval) -> Told:
    return {"estimate": found.estimate, "low": found.low, "high": found.high, "clips": found.clips}
