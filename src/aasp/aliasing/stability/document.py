"""The complete stability measurement: from encoders and clips to JSON values and a few sounds.

Results are by row, by family, and between models. Intervals are 95 % bootstraps over clips, or over groups of clips if
there are groups; two models are paired. Legend: n clips, R modulation rates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasp.aliasing.stability.excerpts import RATE, Excerpts, log_power
from aasp.aliasing.stability.measure import Alignment, Observed, observe, statistics
from aasp.aliasing.stability.perturbations import BATCH, CLEAN, DECIBEL, FAMILIES, RATES, Row, rows
from aasp.aliasing.stability.probes import check_labels, decisions, decoded
from aasp.config import to_dict
from aasp.encoders import EncoderAdapter
from aasp.errors import AaspError
from aasp.evaluate.intervals import Statistic, interval
from aasp.files import atomic_write

Numbers = dict[str, float | None]
Values = Mapping[str, Mapping[str, np.ndarray]]
"""By row key and name, one value per clip (n,), as `Observed.values`."""
RESAMPLES, QUICK = 1_000, 300
"""Resamples for an interval, of which there are over a thousand; and for one that costs n² each."""
PLAYED = ("control 6 dB", "AM 9 Hz 6 dB", "AM 26 Hz 6 dB")
"""Rows that are written as sounds, after the clean clip."""
CLIPWISE = ("distance", "control_distance")
"""Values stored for every clip, so that trainings can be pooled or compared later, paired."""
PATCHES_A_SECOND = 6.25
"""With patches of 16 frames: for encoders without output over time, and so without a Nyquist frequency."""


def nyquist(adapters: Sequence[EncoderAdapter], seconds: float) -> float:
    """The lowest post-patch Nyquist frequency of the adapters, Hz: controls stay below it.

    Raises:
        AaspError: two adapters have one name, or a control does not fit in `seconds`.
    """
    names = [adapter.name for adapter in adapters]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AaspError(f"two models are called {twice}; name each once")
    nyquist_hz = min((s.token_rate for s in adapters if s.token_rate > 0), default=PATCHES_A_SECOND) / 2
    least = 1.5 / (0.9 * nyquist_hz)
    if seconds < least:
        raise AaspError(f"--seconds is {seconds:g}; give {least:.2f} or more, for a swing below {nyquist_hz:g} Hz")
    return nyquist_hz


def examine(
    adapters: Sequence[EncoderAdapter],
    clips: Excerpts,
    *,
    groups: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure encoders on the same clips, as JSON values.

    Args:
        adapters: the encoders; later ones are compared with the first.
        clips: the clips.
        groups: the group of each clip, shape (n,): intervals resample groups, probes do not split them.
        labels: classes, shape (n,); without them decisions are not measured.
        seed: for everything random.
        progress: called with (embeddings done, embeddings in all).

    Raises:
        AaspError: as `nyquist` does; all clips are in one group, or all labels in one class.
    """
    seconds = clips.samples / RATE
    nyquist_hz = nyquist(adapters, seconds)
    table = rows(nyquist_hz, seconds)
    group = np.arange(len(clips)) if groups is None else groups
    if len(np.unique(group)) < 2:
        raise AaspError(f"all {len(clips)} clips are of one group {group[0]!r}; there must be two or more")
    if labels is not None:
        check_labels(labels, group)  # before the slow part
    seen = observe(adapters, clips, table, seed, progress)
    for adapter, one in zip(adapters, seen.adapters, strict=True):
        if not one.clean.spread[0] > 0:
            raise AaspError(f"{adapter.name}: gives half of all clips the same embedding; there is nothing to compare")
    for one in seen.adapters:
        one.reading = decoded(one.clip, one.clean.clip, group, seed)
        if labels is not None:
            one.right, changed = decisions(one.clean.clip, one.clip, labels, group, seed)
            for key, flips in changed.items():
                one.values[key]["flips"] = flips
    first = seen.adapters[0]
    distance = first.values["AM 9 Hz"]["distance"]
    log_mel = decoded(seen.statistics, statistics(log_power(clips.clean)), group, seed)
    return {
        "seconds": seconds,
        "clips": len(clips),
        "groups": len(np.unique(group)),
        "seed": seed,
        "nyquist_hz": nyquist_hz,
        "decibel": DECIBEL,
        "rates_hz": list(RATES),
        "rows": [_row(row, seen.decibel[row.key], first.values[row.key], group) for row in table],
        "models": [_model(*pair, table, group) for pair in zip(adapters, seen.adapters, strict=True)],
        "log_mel": of_reading(log_mel, group),
        "leads": [
            {"model": adapters[0].name, "minus": adapter.name, **leads(table, first, other, group)}
            for adapter, other in zip(adapters[1:], seen.adapters[1:], strict=True)
        ],
        # The clip with the median distance of the first model under fast modulation.
        "example": int(np.argsort(distance)[len(distance) // 2]),
    }


def write_sounds(folder: Path, clips: Excerpts, found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Write the example clip of `examine`, clean and perturbed, as FLAC files with equal gain.

    Returns their names and labels.
    """
    table, clip, seed = rows(found["nyquist_hz"], found["seconds"]), found["example"], found["seed"]
    played = [CLEAN, *(row for key in PLAYED for row in table if row.key == key)]
    waves = [next(islice(row.waves(clips, seed), clip // BATCH, None))[clip % BATCH] for row in played]
    peak = max(1.0, max(float(wave.abs().max()) for wave in waves) / 0.99)
    written = []
    for row, wave in zip(played, waves, strict=True):
        name = re.sub(r"\W+", "-", row.key).strip("-") + ".flac"
        with atomic_write(folder / name) as beside:
            soundfile.write(beside, (wave / peak).numpy(), RATE)
        written.append({"key": row.key, "file": name, "label": row.label})
    return written


def _row(row: Row, decibel: np.ndarray, values: Mapping[str, np.ndarray], groups: np.ndarray) -> dict[str, Any]:
    """Settings of a row, how much it changed the log-mels, and the number of clips beyond the control."""
    stated = getattr(row.perturbation, "decibel", None)
    control = values.get("control_distance")
    return {
        "key": row.key,
        "family": row.family,
        "label": row.label,
        "kind": type(row.perturbation).__name__,
        "settings": to_dict(row.perturbation),
        "decibel": mean_of(decibel, groups, share=False),
        "off_target": None if stated is None else float(np.abs((decibel / stated) ** 2 - 1).max()),
        "beyond_control": 0 if control is None else int(np.isnan(control).sum()),
        "decibel_clipwise": _rounded(decibel),
    }


def _model(adapter: EncoderAdapter, one: Observed, table: Sequence[Row], groups: np.ndarray) -> dict[str, Any]:
    """All results of one adapter."""
    means = lambda of: {name: mean_of(value, groups, share=name == "flips") for name, value in of.items()}
    by_row = {key: means(of) for key, of in one.values.items()}
    for key, numbers in by_row.items():
        numbers["alignment"] = _of_statistic(Alignment(one.clean.clip, one.clip[key]), groups, QUICK)
    return {
        "name": adapter.name,
        "token_rate": adapter.token_rate,
        "spread": dict(zip(("clip", "timestamps"), one.clean.spread, strict=True)),
        "accuracy": None if one.right is None else mean_of(one.right, groups, share=True),
        "rows": by_row,
        "families": of_families(table, one.values, groups),
        "reading": of_reading(one.reading, groups),
        "clipwise": {
            key: {name: _rounded(of[name]) for name in CLIPWISE if name in of} for key, of in one.values.items()
        },
    }


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def mean_of(
    scores: np.ndarray, groups: np.ndarray, *, share: bool | None = None, minus: np.ndarray | None = None
) -> Numbers | None:
    """Mean of scores (n,), or of the difference from another model's, its interval, and the number of non-NaN clips;
    `share` as in `interval`.

    None if there are fewer than two groups (n,).
    """
    known = np.isfinite(scores if minus is None else scores - minus)
    if len(np.unique(groups[known])) < 2:
        return None
    other = None if minus is None else minus[known]
    return _interval(scores[known], minus=other, clusters=groups[known], share=share, resamples=RESAMPLES)


def of_families(
    table: Sequence[Row], values: Values, groups: np.ndarray, minus: Values | None = None
) -> dict[str, dict[str, Any]]:
    """For each family: means over its rows, and `ratio`, its mean distance over its control's; or differences."""
    found: dict[str, dict[str, Any]] = {}
    for family, keys in families(table).items():
        found[family] = {}
        for name in values[keys[0]]:
            other = None if minus is None else _pooled(minus, keys, name)
            found[family][name] = mean_of(_pooled(values, keys, name), groups, share=name == "flips", minus=other)
        found[family]["ratio"] = _ratio(values, keys, groups, minus)
    return found


def of_reading(reading: Mapping[str, np.ndarray], groups: np.ndarray) -> dict[str, Any]:
    """Accuracy of the decoded rate: `alone`, `compared`, and `alone` for each rate; `confusion` in counts."""
    return {
        **{how: mean_of(_share_right(read_Rn), groups) for how, read_Rn in reading.items()},
        "by_rate": [mean_of((read == rate).astype(float), groups) for rate, read in enumerate(reading["alone"])],
        "confusion": [np.bincount(read, minlength=len(RATES)).tolist() for read in reading["alone"]],
    }


def leads(table: Sequence[Row], ours: Observed, theirs: Observed, groups: np.ndarray) -> dict[str, Any]:
    """One model's results minus another's, paired by clip: for each family, and for the decoding."""
    found: dict[str, Any] = {"families": of_families(table, ours.values, groups, minus=theirs.values)}
    for how, read_Rn in ours.reading.items():
        found[how] = mean_of(_share_right(read_Rn), groups, minus=_share_right(theirs.reading[how]))
    return found


def families(table: Sequence[Row]) -> dict[str, list[str]]:
    """Row keys of each of FAMILIES, in order; families without rows are omitted."""
    found = {family: [row.key for row in table if row.family == family] for family in FAMILIES}
    return {family: keys for family, keys in found.items() if keys}


def _pooled(values: Values, keys: Sequence[str], name: str) -> np.ndarray:
    """Mean over rows of each clip's known values, NaN if there are none, shape (n,)."""
    each = np.stack([values[key][name] for key in keys])
    known = np.isfinite(each)
    return np.where(known.any(0), np.where(known, each, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def _ratio(values: Values, keys: Sequence[str], groups: np.ndarray, minus: Values | None = None) -> Numbers | None:
    """Mean distance over rows and clips divided by the control's, where the control is known."""
    known = np.stack([np.isfinite(values[key]["control_distance"]) for key in keys])
    seen = known.any(0)
    if len(np.unique(groups[seen])) < 2:
        return None

    def statistic(one: Values) -> Statistic:
        total = lambda name: np.where(known, [one[key][name] for key in keys], 0.0).sum(0)[seen]
        moved, control = total("distance"), total("control_distance")
        # An encoder that the control does not move has no ratio.
        return lambda weights: float(weights @ moved / still) if (still := weights @ control) > 0 else np.nan

    other = None if minus is None else statistic(minus)
    return _of_statistic(statistic(values), groups[seen], RESAMPLES, minus=other)


def _share_right(read_Rn: np.ndarray) -> np.ndarray:
    return (read_Rn == np.arange(len(read_Rn))[:, None]).mean(0)


def _of_statistic(one: Statistic, groups: np.ndarray, resamples: int, minus: Statistic | None = None) -> Numbers | None:
    """The interval for functions of clip weights; None if they are undefined for the clips."""
    given = [one] if minus is None else [one, minus]
    if not all(np.isfinite(statistic(np.ones(len(groups)))) for statistic in given):
        return None
    return _interval([one], minus=None if minus is None else [minus], clusters=groups, resamples=resamples)


def _interval(scores: Any, **options: Any) -> Numbers:
    found = interval(scores, **options)
    return {"estimate": found.estimate, "low": found.low, "high": found.high, "clips": found.clips}
