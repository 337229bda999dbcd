"""The demo's report: its data, and its figures; the words between them are in `templates/demo.html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aasp.report.figures import embedding_map, frequency_responses, kernel_shape
from aasp.report.findings import Estimates
from aasp.report.first_look import DRAWS, LABELS, FirstLook, few_labels_sentence
from aasp.report.learning import metric_curves
from aasp.report.rates import (
    decay_over_frequency,
    density,
    found_against_true,
    frequency_histogram,
    hertz_label,
    shares,
)
from aasp.report.scores import TaskScores, answer, verdict
from aasp.report.spectrogram import Spectrogram, masked_view, patch_rates, spectrogram
from aasp.report.style import SECOND
from aasp.report.templates import render
from aasp.stems.lambda_encoder import ALPHA_RANGE

TITLE = "What a small transformer knows about sounds that it was never trained on"


@dataclass(frozen=True)
class Example:
    """A clip and what the stem looks at in it: rates (G, F) in Hz of the strongest states, their strengths (G, F)."""

    name: str
    clip: Spectrogram
    rate_hz: np.ndarray
    strength: np.ndarray


@dataclass(frozen=True)
class DemoReportData:
    """What the report shows, as arrays.

    Attributes:
        patch_ms: duration of a patch.
        bands: patches above each other.
        band: what the patches by themselves would alias, Hz.
        look: what vectors are good for without training.
        tasks: scores, the encoder that was trained on first.
        metrics: lines of the run's `metrics.jsonl`.
        clip: a clip, and `visible` (V, n): the patches that its masked views see.
        examples: a few clips.
        now: estimates of the trained stem on clips of known modulation rate; `start`, of the untrained one.
        true_hz: the clips' modulation rates in Hz, shape (B,).
        kernels: real (S, K), imaginary (S, K), frequency in Hz (S,).
        frame_rate: frames per second.
        maps: by encoder, its notes on a plane (n, 2), with `families` (n,).
        facts: how it was made, by term.
    """

    patch_ms: float
    bands: int
    band: tuple[float, float]
    look: FirstLook
    tasks: Sequence[TaskScores]
    metrics: Sequence[Mapping[str, float | None]]
    clip: Spectrogram
    visible: np.ndarray
    examples: Sequence[Example]
    now: Estimates
    start: Estimates
    true_hz: np.ndarray
    kernels: tuple[np.ndarray, np.ndarray, np.ndarray]
    frame_rate: float
    maps: Mapping[str, np.ndarray]
    families: np.ndarray
    facts: Mapping[str, str]


def render_demo_report(data: DemoReportData, *, eyebrow: str) -> str:
    """The report as one HTML page."""
    views = [masked_view(data.clip, visible, title=f"View {k}") for k, visible in enumerate(data.visible, start=1)]
    return render(
        "report/demo.html",
        eyebrow=eyebrow,
        title=TITLE,
        facts=data.facts,
        data=data,
        first_answer=few_labels_sentence(data.look),
        answer=answer(data.tasks),
        verdict=verdict,
        draws=DRAWS,
        few_labels={count: {name: of[count] for name, of in data.look.few.items()} for count in LABELS},
        learning=metric_curves(data.metrics),
        shown=data.visible.shape[1] / np.prod(data.clip.grid),
        views=[spectrogram(data.clip, title="All of it, for the teacher"), *views],
        band=" to ".join(map(hertz_label, data.band)),
        rates=_rates(data),
        kernels=_kernels(data),
        maps=[embedding_map(points, data.families, title=name) for name, points in data.maps.items()],
    )


def _rates(data: DemoReportData) -> list[str]:
    rates, band = sorted(set(data.true_hz.tolist())), data.band
    found = [[_loud(estimates, data.true_hz == rate) for rate in rates] for estimates in (data.now, data.start)]
    start = (np.median(data.start.alpha, axis=(0, 1, 2)), np.median(data.start.beta_hz, axis=(0, 1, 2)))
    lie = [shares(estimates.beta_hz, band) for estimates in (data.start, data.now)]
    counts = density(data.now.alpha, data.now.beta_hz, ALPHA_RANGE, band)
    return [
        *(patch_rates(one.clip, one.rate_hz, one.strength, title=one.name, band=band) for one in data.examples),
        frequency_histogram(*lie, title="Where the frequencies lie", band=band),
        decay_over_frequency(counts, start=start, bounds=ALPHA_RANGE, title="Decay and frequency", band=band),
        found_against_true(rates, found[0], title="Known modulations, trained", band=band),
        found_against_true(rates, found[1], title="Known modulations, untrained", color=SECOND, band=band),
    ]


def _kernels(data: DemoReportData) -> list[str]:
    real, imag, hertz = data.kernels
    rate, chosen = data.frame_rate, np.unique(np.linspace(0, len(hertz) - 1, 3).round().astype(int))
    shapes = [kernel_shape(real[k], imag[k], frame_rate=rate, title=f"A kernel for {hertz[k]:.1f} Hz") for k in chosen]
    title = "What the kernels let through"
    return [*shapes, frequency_responses(real, imag, hertz, frame_rate=rate, title=title, band=data.band)]


def _loud(estimates: Estimates, clips: np.ndarray) -> np.ndarray:
    """Rates of the strongest states in those patches of some clips that answer at least a quarter as loud as any."""
    rate, strength = estimates.rate_hz[clips], estimates.strength[clips]
    return rate[strength > 0.25]
