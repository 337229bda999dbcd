"""The whole examination: encoders and clips in, JSON values and a few sounds out.

Numbers are by row, by family, and between models. Intervals are 95 % bootstraps over clips, or over groups of clips
where there are groups; two models are paired.

Legend: n clips, R modulation rates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasp.aliasing.adapters import EncoderAdapter
from aasp.aliasing.stability.excerpts import RATE, Excerpts, log_power
from aasp.aliasing.stability.measure import Alignment, Observations, Observed, observe, statistics
from aasp.aliasing.stability.perturbations import BATCH, CLEAN, DECIBEL, FAMILIES, RATES, Row, rows
from aasp.aliasing.stability.probes import Clipwise, Reading, check_labels, clipwise
from aasp.config import to_dict
from aasp.errors import AaspError
from aasp.evaluate.intervals import Interval, Statistic, interval
from aasp.files import atomic_write

Numbers = dict[str, float | None]
RESAMPLES, QUICK = 1_000, 300
"""For an interval, of which there are over a thousand; and for one that takes n² each."""
PLAYED = ("control 6 dB", "AM 9 Hz 6 dB", "AM 26 Hz 6 dB", "FM 6 Hz")
"""Rows that are written as sounds, after the clean clip."""
PATCHES_A_SECOND = 6.25
"""Of 16 frames each: for encoders that give nothing over time, and so have no Nyquist frequency of their own."""


def nyquist(adapters: Sequence[EncoderAdapter], seconds: float) -> float:
    """The lowest post-patch Nyquist frequency of the adapters, Hz: controls stay below it.

    Raises:
        AaspError: two adapters have one name, or a control has no room in `seconds`.
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
) -> tuple[dict[str, Any], list[Row]]:
    """Examine encoders on the same clips.

    Args:
        adapters: the encoders; those after the first are compared with it.
        clips: the clips.
        groups: of clips that belong together, shape (n,): intervals draw groups, probes keep them whole.
        labels: classes, shape (n,); without them no decisions are looked at.
        seed: of everything random.
        progress: called with (embeddings done, embeddings in all).

    Returns:
        JSON values, and the rows that were tried.

    Raises:
        AaspError: as `nyquist` does; the clips are of one group, or the labels of one class.
    """
    seconds = clips.samples / RATE
    nyquist_hz = nyquist(adapters, seconds)
    table = rows(nyquist_hz, seconds)
    group = np.arange(len(clips)) if groups is None else groups
    if len(np.unique(group)) < 2:
        raise AaspError(f"all {len(clips)} clips are of one group {group[0]!r}; there must be two or more")
    if labels is not None:
        check_labels(labels, group)  # before the long part
    seen = observe(adapters, clips, table, seed, progress)
    for adapter, one in zip(adapters, seen.adapters, strict=True):
        if not one.reference.spread[0] > 0:
            raise AaspError(f"{adapter.name}: gives half of all clips the same embedding; there is nothing to compare")
    each = [clipwise(table, seen, one, groups=group, labels=labels, seed=seed) for one in seen.adapters]
    played = np.stack([seen.statistics[f"AM {hertz:g} Hz"] for hertz in RATES])
    log_mel = Reading.of(played, statistics(log_power(clips.clean)), group, seed)
    distance = each[0].values["AM 9 Hz"]["distance"]
    found = {
        "seconds": seconds,
        "clips": len(clips),
        "groups": len(np.unique(group)),
        "seed": seed,
        "nyquist_hz": nyquist_hz,
        "decibel": DECIBEL,
        "rates_hz": list(RATES),
        "rows": [_row(row, seen, known=each[0], groups=group) for row in table],
        "models": [
            _model(adapter, one, known, table, group)
            for adapter, one, known in zip(adapters, seen.adapters, each, strict=True)
        ],
        "log_mel": of_reading(log_mel, group),
        "leads": [
            {"model": adapters[0].name, "minus": adapter.name, **leads(table, each[0], known, group)}
            for adapter, known in zip(adapters[1:], each[1:], strict=True)
        ],
        # The clip that fast modulation moves the first model by as far as half of the clips.
        "example": int(np.argsort(distance)[len(distance) // 2]),
    }
    return found, table


def write_sounds(folder: Path, clips: Excerpts, table: Sequence[Row], clip: int, seed: int) -> list[dict[str, str]]:
    """Write one clip, clean and perturbed, as FLAC files, all with one gain; their names and labels come back."""
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


def _row(row: Row, seen: Observations, known: Clipwise, groups: np.ndarray) -> dict[str, Any]:
    """What was done, how much it changed the log-mels, and for how many clips that is beyond the control."""
    decibel = seen.decibel[row.key]
    stated = getattr(row.perturbation, "decibel", None)
    control = known.values[row.key].get("control_distance")
    return {
        "key": row.key,
        "family": row.family,
        "label": row.label,
        "kind": type(row.perturbation).__name__,
        "settings": to_dict(row.perturbation),
        "decibel": mean_of(decibel, groups),
        "off_target": None if stated is None else float(np.abs((decibel / stated) ** 2 - 1).max()),
        "beyond_control": 0 if control is None else int(np.isnan(control).sum()),
        "decibel_clipwise": _rounded(decibel),
    }


def _model(
    adapter: EncoderAdapter, one: Observed, known: Clipwise, table: Sequence[Row], groups: np.ndarray
) -> dict[str, Any]:
    """Every number of one adapter; `clipwise` so that trainings can be pooled or compared later, paired."""
    names = ("distance", "control_distance")
    return {
        "name": adapter.name,
        "token_rate": adapter.token_rate,
        "spread": dict(zip(("clip", "timestamps"), one.reference.spread, strict=True)),
        "accuracy": None if known.right is None else mean_of(known.right, groups),
        "rows": of_rows(table, known, one, groups),
        "families": of_families(table, known, groups),
        "reading": of_reading(known.reading, groups),
        "clipwise": {
            key: {name: _rounded(values[name]) for name in names if name in values}
            for key, values in known.values.items()
        },
    }


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def mean_of(scores: np.ndarray, groups: np.ndarray, *, minus: np.ndarray | None = None) -> Numbers | None:
    """Mean of scores (n,), less another model's, its interval, and the number of clips that have a value (are not NaN).

    None where there are fewer than two groups (n,).
    """
    known = np.isfinite(scores if minus is None else scores - minus)
    if len(np.unique(groups[known])) < 2:
        return None
    other = None if minus is None else minus[known]
    return _numbers(interval(scores[known], minus=other, clusters=groups[known], resamples=RESAMPLES))


def of_rows(table: Sequence[Row], clips: Clipwise, adapter: Observed, groups: np.ndarray) -> dict[str, dict[str, Any]]:
    """Of each row: every array of `clips`, and `alignment`."""
    found: dict[str, dict[str, Any]] = {}
    for row in table:
        found[row.key] = {name: mean_of(value, groups) for name, value in clips.values[row.key].items()}
        alignment = Alignment(adapter.reference.clip, adapter.clip[row.key])
        found[row.key]["alignment"] = _of_statistic(alignment, groups, QUICK)
    return found


def of_families(
    table: Sequence[Row], clips: Clipwise, groups: np.ndarray, minus: Clipwise | None = None
) -> dict[str, dict[str, Any]]:
    """Of each family: means over its rows, and `ratio`, its mean distance over its control's; less another model's."""
    found: dict[str, dict[str, Any]] = {}
    for family, keys in families(table).items():
        other = lambda name, keys=keys: None if minus is None else _pooled(minus, keys, name)
        names = clips.values[keys[0]]
        found[family] = {name: mean_of(_pooled(clips, keys, name), groups, minus=other(name)) for name in names}
        found[family]["ratio"] = _ratio(clips, keys, groups, minus)
    return found


def of_reading(reading: Reading, groups: np.ndarray) -> dict[str, Any]:
    """How often the rate is decoded: `heard`, `compared`, and `heard` rate by rate; `confusion` in counts."""
    right = reading.heard == np.arange(len(RATES))[:, None]
    return {
        "heard": mean_of(right.mean(0), groups),
        "compared": mean_of(_share_right(reading.compared), groups),
        "by_rate": [mean_of(row.astype(float), groups) for row in right],
        "confusion": [np.bincount(row, minlength=len(RATES)).tolist() for row in reading.heard],
    }


def leads(table: Sequence[Row], ours: Clipwise, theirs: Clipwise, groups: np.ndarray) -> dict[str, Any]:
    """One model's numbers minus another's, paired clip by clip: of each family, and of the reading."""
    share = lambda how: [_share_right(getattr(one.reading, how)) for one in (ours, theirs)]
    lead = lambda mine, other: mean_of(mine, groups, minus=other)
    return {
        "families": of_families(table, ours, groups, minus=theirs),
        "heard": lead(*share("heard")),
        "compared": lead(*share("compared")),
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


def _ratio(clips: Clipwise, keys: Sequence[str], groups: np.ndarray, minus: Clipwise | None = None) -> Numbers | None:
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

    return _of_statistic(statistic(clips), groups[seen], RESAMPLES, minus=None if minus is None else statistic(minus))


def _share_right(read_Rn: np.ndarray) -> np.ndarray:
    return (read_Rn == np.arange(len(read_Rn))[:, None]).mean(0)


def _of_statistic(one: Statistic, groups: np.ndarray, resamples: int, minus: Statistic | None = None) -> Numbers | None:
    """Of functions of clip weights; None where they are undefined for the clips as they are."""
    given = [one] if minus is None else [one, minus]
    if not all(np.isfinite(statistic(np.ones(len(groups)))) for statistic in given):
        return None
    other = None if minus is None else [minus]
    return _numbers(interval([one], minus=other, clusters=groups, resamples=resamples))


def _numbers(found: Interval) -> Numbers:
    return {"estimate": found.estimate, "low": found.low, "high": found.high, "clips": found.clips}
