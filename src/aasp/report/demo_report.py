"""The demo's report: its figures; the text is in `templates/demo.html`.

B clips, G x F grid of patches, S states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from aasp.audio.io import read
from aasp.evaluate.demo import LOOKED_AT, FirstLook, Rows, TaskScores, middle_note, rows_of, verdict
from aasp.evaluate.similarity import DRAWS, LABELS
from aasp.model.audio_encoder import AudioEncoder
from aasp.pretrain.methods.aasp import AaSPConfig
from aasp.pretrain.recipe import Recipe
from aasp.report import findings
from aasp.report.figures import embedding_map, frequency_responses, kernel_shape
from aasp.report.findings import Estimates
from aasp.report.learning import metric_curves
from aasp.report.rates import (
    Bounds,
    decay_over_frequency,
    density,
    found_against_true,
    frequency_histogram,
    hertz_label,
    shares,
)
from aasp.report.spectrogram import masked_view, patch_rates, spectrogram
from aasp.report.style import SECOND
from aasp.report.templates import write_page
from aasp.stems.lambda_encoder import ALPHA_RANGE
from aasp.stems.states import States

SHOWN = (
    ("am tone", "6.1", "A tone, loudness swinging"),
    ("fm noise", "15.6", "Noise, pitch swinging"),
    ("impulses", "25", "Clicks"),
)
"""Test signals that are shown: kind, rate in Hz, name."""
TREMOLO, STEADY = "tremolo strings", "cello"
"""Instruments that are shown: one with natural tremolo, and one for the masks."""


def write_demo_report(
    path: Path,
    data: Path,
    trained: AudioEncoder,
    untrained: AudioEncoder,
    recipe: Recipe,
    *,
    look: FirstLook,
    tasks: Sequence[TaskScores],
    metrics: Sequence[Mapping[str, float | None]],
    facts: Mapping[str, str],
    eyebrow: str,
) -> None:
    """Write the report as one HTML page, completely or not at all.

    Args:
        path: the page.
        data: folder of the demo's sounds.
        trained: the model after continued training.
        untrained: a model of its architecture with random weights.
        recipe: the recipe of the continued training.
        look: results of the packaged model's vectors without training.
        tasks: scores; the continued encoder's come first.
        metrics: lines of the run's `metrics.jsonl`.
        facts: how it was made, by term.
        eyebrow: the short line above the title.
    """
    assert isinstance(recipe.method, AaSPConfig), "the demo is about AaSP"
    stem, stem_before = trained.stem.states, untrained.stem.states
    assert stem is not None and stem_before is not None, "and about its stem"
    notes, signals = rows_of(data, "notes"), rows_of(data, "signals")
    test = [row for row in signals if row["split"] == "test"]
    rate, patch = trained.config.frontend.frame_rate, trained.stem.patch[0]
    band = (rate / 2 / patch, rate / 2)
    sampled = trained.config.frontend.rate
    listen = lambda rows, end=None: findings.listen(trained, [read(row["path"], rate=sampled)[:end] for row in rows])

    _, mel = listen(test)
    now, start = (findings.estimate(states, mel, rate) for states in (stem, stem_before))
    shown = [(f"{name}, {hertz} Hz", _first(signals, kind, hertz)) for kind, hertz, name in SHOWN]
    shown.append(("Strings playing tremolo", middle_note(notes, TREMOLO)))
    clips, mel = listen([row for _, row in shown])
    found = findings.estimate(stem, mel, rate)
    each = zip(shown, clips, found.rate_hz, found.strength, strict=True)
    (clip,), _ = listen([middle_note(notes, STEADY)], round(recipe.data.crop_seconds * sampled))
    visible = findings.views(clip, recipe.method.masking)
    views = [masked_view(clip, some, title=f"View {k}") for k, some in enumerate(visible[:3], start=1)]
    families = np.array([row["family"] for row in look.rows])
    write_page(
        path,
        "report/demo.html",
        eyebrow=eyebrow,
        facts=facts,
        look=look,
        per_instrument=LOOKED_AT,
        labels=LABELS,
        draws=DRAWS,
        tasks=tasks,
        first=next(iter(tasks[0].accuracy)),
        leads={other: _clear(tasks, other) for other in tasks[0].difference},
        verdict=verdict,
        maps=[embedding_map(points, families, title=name) for name, points in look.maps.items()],
        learning=metric_curves(metrics),
        visible=visible.shape[1] / np.prod(clip.grid),
        views=[spectrogram(clip, title="All of it, for the teacher"), *views],
        patch_ms=1000 * patch / rate,
        bands=trained.stem.subbands,
        band=" to ".join(map(hertz_label, band)),
        tinted=[patch_rates(clip, *of, title=name, band=band) for (name, _), clip, *of in each],
        rates=_rates(now, start, np.array([float(row["rate"]) for row in test]), band),
        kernels=_kernels(stem, now, rate, band),
    )


def _clear(tasks: Sequence[TaskScores], other: str) -> dict[str, list[str]]:
    """Tasks on which the first encoder is clearly better or worse than another one, or not clearly different."""
    found: dict[str, list[str]] = {"better at": [], "worse at": [], "no clear difference at": []}
    for task in tasks:
        lead = task.difference[other]
        clear = "better at" if lead.estimate > 0 else "worse at"
        found[clear if lead.excludes_zero() else "no clear difference at"].append(task.name.lower())
    return {how: names for how, names in found.items() if names}


def _rates(now: Estimates, start: Estimates, true_hz: np.ndarray, band: Bounds) -> list[Markup]:
    """Estimated rates of the trained and untrained stem for clips of known modulation rates (B,).

    Only patches whose response is at least a quarter of the clip's largest count.
    """
    started = (np.median(start.alpha, axis=(0, 1, 2)), np.median(start.beta_hz, axis=(0, 1, 2)))
    counts = density(now.alpha, now.beta_hz, ALPHA_RANGE, band)
    lie = [shares(estimates.beta_hz, band) for estimates in (start, now)]
    known = sorted(set(true_hz.tolist()))
    strong = lambda found, clips: found.rate_hz[clips][found.strength[clips] > 0.25]
    loud = lambda found: [strong(found, true_hz == hertz) for hertz in known]
    return [
        frequency_histogram(*lie, title="Where the frequencies lie", band=band),
        decay_over_frequency(counts, start=started, bounds=ALPHA_RANGE, title="Decay and frequency", band=band),
        found_against_true(known, loud(now), title="Known modulations, trained", band=band),
        found_against_true(known, loud(start), title="Known modulations, untrained", color=SECOND, band=band),
    ]


def _kernels(stem: States, now: Estimates, rate: float, band: Bounds) -> list[Markup]:
    real, imag, hertz = findings.typical_kernels(stem, now, rate)
    chosen = np.unique(np.linspace(0, len(hertz) - 1, 3).round().astype(int))
    shapes = [kernel_shape(real[k], imag[k], frame_rate=rate, title=f"A kernel for {hertz[k]:.1f} Hz") for k in chosen]
    title = "What the kernels let through"
    return [*shapes, frequency_responses(real, imag, hertz, frame_rate=rate, title=title, band=band)]


def _first(rows: Rows, kind: str, hertz: str) -> dict[str, str]:
    return next(row for row in rows if (row["split"], row["kind"], row["rate"]) == ("test", kind, hertz))
