"""The whole examination: encoders and clips in, JSON values and a few sounds out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aasp.aliasing.stability.clipwise import Clipwise, Reading, clipwise
from aasp.aliasing.stability.energy import log_power
from aasp.aliasing.stability.excerpts import RATE, Excerpts
from aasp.aliasing.stability.observe import Observations, observe, statistics
from aasp.aliasing.stability.reading import check_labels
from aasp.aliasing.stability.rows import BATCH, CLEAN, DECIBEL, RATES, Row, rows
from aasp.aliasing.stability.summary import leads, of_families, of_reading, of_rows, told
from aasp.aliasing.subjects import Subject
from aasp.config import to_dict
from aasp.errors import AaspError
from aasp.files import atomic_write

PLAYED = ("control 6 dB", "AM 9 Hz 6 dB", "AM 26 Hz 6 dB", "FM 6 Hz")
"""Rows that are written as sounds, after the clean clip."""
PATCHES_A_SECOND = 6.25
"""Of 16 frames each: for encoders that give nothing over time, and so have no Nyquist frequency of their own."""


def nyquist(subjects: Sequence[Subject], seconds: float) -> float:
    """The lowest post-patch Nyquist frequency of the subjects, Hz: controls stay below it.

    Raises:
        AaspError: two subjects have one name, or a control has no room in `seconds`.
    """
    names = [subject.name for subject in subjects]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AaspError(f"two models are called {twice}; name each once")
    nyquist_hz = min((s.token_rate for s in subjects if s.token_rate > 0), default=PATCHES_A_SECOND) / 2
    least = 1.5 / (0.9 * nyquist_hz)
    if seconds < least:
        raise AaspError(f"--seconds is {seconds:g}; give {least:.2f} or more, for a swing below {nyquist_hz:g} Hz")
    return nyquist_hz


def examine(
    subjects: Sequence[Subject],
    clips: Excerpts,
    *,
    groups: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Any], list[Row]]:
    """Examine encoders on the same clips.

    Args:
        subjects: the encoders; those after the first are compared with it.
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
    nyquist_hz = nyquist(subjects, seconds)
    table = rows(nyquist_hz, seconds)
    group = np.arange(len(clips)) if groups is None else groups
    if len(np.unique(group)) < 2:
        raise AaspError(f"all {len(clips)} clips are of one group {group[0]!r}; there must be two or more")
    if labels is not None:
        check_labels(labels, group)  # before the long part
    seen = observe(subjects, clips, table, seed, progress)
    for subject, one in zip(subjects, seen.subjects, strict=True):
        if not one.reference.spread[0] > 0:
            raise AaspError(f"{subject.name}: gives half of all clips the same embedding; there is nothing to compare")
    each = [clipwise(table, seen, one, groups=group, labels=labels, seed=seed) for one in seen.subjects]
    played = np.stack([seen.statistics[f"AM {hertz:g} Hz"] for hertz in RATES])
    log_mel = Reading.of(played, statistics(log_power(clips.clean)), group, seed)
    models = []
    for subject, one, known in zip(subjects, seen.subjects, each, strict=True):
        models.append(
            {
                "name": subject.name,
                "token_rate": subject.token_rate,
                "spread": dict(zip(("clip", "timestamps"), one.reference.spread, strict=True)),
                "accuracy": None if known.right is None else told(known.right, group),
                "rows": of_rows(table, known, one, group),
                "families": of_families(table, known, group),
                "reading": of_reading(known.reading, group),
                "clipwise": _each_clip(known),
            }
        )
    found = {
        "seconds": seconds,
        "clips": len(clips),
        "groups": len(np.unique(group)),
        "seed": seed,
        "nyquist_hz": nyquist_hz,
        "decibel": DECIBEL,
        "rates_hz": list(RATES),
        "rows": [_row(row, seen, known=each[0], groups=group) for row in table],
        "models": models,
        "log_mel": of_reading(log_mel, group),
        "leads": [
            {"model": subjects[0].name, "minus": subject.name, **leads(table, each[0], known, group)}
            for subject, known in zip(subjects[1:], each[1:], strict=True)
        ],
        "example": _typical(each[0]),
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
        "decibel": told(decibel, groups),
        "off_target": None if stated is None else float(np.abs((decibel / stated) ** 2 - 1).max()),
        "beyond_control": 0 if control is None else int(np.isnan(control).sum()),
        "decibel_clipwise": _rounded(decibel),
    }


def _each_clip(known: Clipwise) -> dict[str, dict[str, list[float | None]]]:
    """Distances and the control's, so that trainings can be pooled or compared later, paired."""
    names = ("distance", "control_distance")
    return {
        key: {name: _rounded(values[name]) for name in names if name in values} for key, values in known.values.items()
    }


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def _typical(known: Clipwise) -> int:
    """The clip that the first model is moved by as far as half of the clips are: by fast modulation."""
    distance = known.values["AM 9 Hz"]["distance"]
    return int(np.argsort(distance)[len(distance) // 2])
