"""Everything that the demo's report shows, gathered from a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aasp.audio.io import read
from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.recipe import Recipe
from aasp.report import findings
from aasp.report.comparison import Reading, rows_of
from aasp.report.demo_report import DemoReportData, Example
from aasp.report.first_look import FirstLook
from aasp.report.scores import TaskScores
from aasp.stems.states import States

SHOWN = (
    ("am tone", "6.1", "A tone, loudness swinging"),
    ("fm noise", "15.6", "Noise, pitch swinging"),
    ("impulses", "25", "Clicks"),
)
"""Test signals to show: kind, rate in Hz, name."""
TREMOLO, STEADY = "tremolo strings", "cello"
"""Instruments to show: one whose loudness trembles by itself, one for the masks."""


def collect(
    data: Path,
    trained: AudioEncoder,
    untrained: AudioEncoder,
    recipe: Recipe,
    *,
    look: FirstLook,
    tasks: Sequence[TaskScores],
    readings: Mapping[str, Reading],
    metrics: Sequence[Mapping[str, float | None]],
    facts: Mapping[str, str],
) -> DemoReportData:
    """Gather the report's arrays.

    Args:
        data: the demo's sounds.
        trained: the model that was trained on.
        untrained: one of its architecture with random weights.
        recipe: how it was trained on.
        look: what vectors are good for without training.
        tasks: scores.
        readings: of the encoders to map, by name.
        metrics: the run's record.
        facts: how it was made, by term.

    Raises:
        AaspError: the model's stem has no states to show.
    """
    assert isinstance(recipe.method, AaSPConfig), "the demo is about AaSP"
    stem, stem_before = _states(trained), _states(untrained)
    notes, signals = rows_of(data, "notes"), rows_of(data, "signals")
    test = [row for row in signals if row["split"] == "test"]
    rate = trained.config.frontend.frame_rate
    waves = lambda rows: [read(row["path"], rate=trained.config.frontend.rate) for row in rows]

    _, known = findings.listen(trained, waves(test))
    now = findings.estimate(stem, known, rate)

    shown = [(f"{name}, {hertz} Hz", _first(test, kind=kind, rate=hertz)) for kind, hertz, name in SHOWN]
    shown.append(("Strings playing tremolo", _middle(notes, TREMOLO)))
    clips, mel = findings.listen(trained, waves([row for _, row in shown]))
    found = findings.estimate(stem, mel, rate)
    examples = [Example(shown[k][0], clips[k], found.rate_hz[k], found.strength[k]) for k in range(len(shown))]

    (note,) = waves([_middle(notes, STEADY)])
    crop = round(recipe.data.crop_seconds * trained.config.frontend.rate)
    (steady,), _ = findings.listen(trained, [note[:crop]])
    return DemoReportData(
        patch_ms=1000 * trained.stem.patch[0] / rate,
        bands=trained.stem.subbands,
        band=(rate / 2 / trained.stem.patch[0], rate / 2),
        look=look,
        tasks=tasks,
        metrics=metrics,
        clip=steady,
        visible=findings.views(steady, recipe.method.masking)[:3],
        examples=examples,
        now=now,
        start=findings.estimate(stem_before, known, rate),
        true_hz=np.array([float(row["rate"]) for row in test]),
        kernels=findings.typical_kernels(stem, now, rate),
        frame_rate=rate,
        maps={name: findings.plane(reading.notes) for name, reading in readings.items()},
        families=np.array([row["family"] for row in notes]),
        facts=facts,
    )


def _states(model: AudioEncoder) -> States:
    if model.stem.states is None:
        kind = type(model.stem).__name__
        raise AaspError(f"the report shows the states of a stem, and {kind} has none; pre-train with model.stem=aape")
    return model.stem.states


def _first(rows: Sequence[dict[str, str]], **wanted: str) -> dict[str, str]:
    return next(row for row in rows if wanted.items() <= row.items())


def _middle(rows: Sequence[dict[str, str]], instrument: str) -> dict[str, str]:
    """The middle one of an instrument's notes by pitch."""
    own = sorted((row for row in rows if row["instrument"] == instrument), key=lambda row: int(row["pitch"]))
    return own[len(own) // 2]
