"""Figures for single pages: of a classifier, of the SBLU's kernels, and a map of embeddings.

K classes (of kernels: taps), B bins of probability, S states; kernels have weights real + i imag of shape (S, K), taps
a frame apart, as in `aasp.stems.sblu.kernel`. Each panel has its title above it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from aasp.evaluate.class_scores import Reliability
from aasp.report.rates import BAND, OCTAVES, Bounds, hertz_label
from aasp.report.spectrogram import RATE_COLORS
from aasp.report.style import CATEGORIES, FIRST, HALO, RULE, SECOND, WIDTH, dashed, drawn, legend, log_ticks, panel

LETTER = 5.0
"""Average width of a letter in CSS pixels."""
MAX_LETTERS = 22
"""Maximum letters of a class's name in figures; tables have full names."""


@drawn
def confusion_matrix(counts: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Counts of clips (K, K): rows are true classes, columns predicted ones; a cell's shade is its share of its row."""
    names, margin = _short(classes)
    side = (WIDTH - margin - 4) / len(names)
    height = 34 + len(names) * side + margin
    figure, axes = panel(height, title, "true class, by predicted class below", left=margin, right=4)
    figure.subplots_adjust(bottom=margin / height)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=FIRST, alpha=0.6 * shares[row, column], linewidth=0))
        if side >= 13:
            axes.text(column, row, str(counts[row, column]), ha="center", va="center_baseline", fontsize=9)
    edges = np.arange(len(names) + 1) - 0.5
    axes.vlines(edges, edges[0], edges[-1], color=RULE, linewidth=0.5)
    axes.hlines(edges, edges[0], edges[-1], color=RULE, linewidth=0.5)
    axes.set(xlim=edges[[0, -1]], ylim=edges[[-1, 0]])
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@drawn
def class_dots(names: Sequence[str], values: np.ndarray, *, title: str, label: str) -> Figure:
    """A line for each class with its score from 0 to 1 (K,) as a dot, the lowest on top; `label` names the score."""
    order = np.argsort(-values, kind="stable")
    short, margin = _short(names)
    places, scores = np.arange(len(names)), 100 * values[order]
    figure, axes = panel(60 + 15 * len(names), title, "", left=margin, right=14)
    axes.hlines(places, 0, scores, color=FIRST, alpha=0.35, linewidth=3)
    axes.plot(scores, places, "o", color=FIRST, markersize=5, clip_on=False)
    axes.set_yticks(places, [short[k] for k in order])
    axes.set(xlim=(0, 100), ylim=(-0.7, len(names) - 0.3), xlabel=f"{label} (%)")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return figure


@drawn
def class_curve(values: np.ndarray, support: np.ndarray, *, title: str, label: str) -> Figure:
    """Scores from 0 to 1 of many classes (K,) over the number of clips of each (K,), at least one."""
    figure, axes = panel(230, title, f"{label} (%)")
    axes.scatter(support, 100 * values, s=9, color=FIRST, alpha=0.6, linewidth=0, clip_on=False)
    low, high = int(support.min()), int(support.max())
    log_ticks(axes.xaxis, sorted({low, round((low * high) ** 0.5), high}), "{:,}".format)
    axes.set(xlim=(low / 1.1, high * 1.1), ylim=(0, 100), xlabel="clips of the class")
    axes.grid(axis="y")
    return figure


@drawn
def reliability_diagram(found: Reliability, *, title: str, cases: str) -> Figure:
    """Observed frequency over predicted probability, with a dashed diagonal; cases are correct clips, or labels."""
    figure, axes = panel(250, title, f"share of {cases} (%)")
    confidence, frequency = 100 * found.confidence, 100 * found.frequency
    dashed(axes, (0, 100), (0, 100))
    axes.vlines(confidence, confidence, frequency, color=FIRST, alpha=0.35, linewidth=3)
    axes.plot(confidence, frequency, "o", color=FIRST, markersize=5, clip_on=False)
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="predicted probability (%)")
    axes.grid(axis="y")
    return figure


@drawn
def probability_histogram(found: Reliability, *, title: str, cases: str) -> Figure:
    """Number of cases (clips, labels) by probability, on a logarithmic scale."""
    figure, axes = panel(250, title, cases, left=44)
    axes.bar(100 * found.confidence, found.cases, width=5, color=FIRST, alpha=0.75)
    log_ticks(axes.yaxis, [10**k for k in range(int(np.log10(found.cases.max())) + 1)], "{:,}".format)
    axes.set(xlim=(0, 100), ylim=(0.7, None), xlabel="predicted probability (%)")
    axes.grid(axis="y")
    return figure


@drawn
def kernel_shape(real_K: np.ndarray, imag_K: np.ndarray, *, frame_rate: float, title: str) -> Figure:
    """One kernel over time, centred on its patch."""
    figure, axes = panel(170, title, "weight")
    taps = len(real_K)
    milliseconds = 1000 / frame_rate * (np.arange(taps) - (taps - 1) / 2)
    axes.axhline(0, color=RULE, linewidth=0.8)
    for weights, color, label in ((real_K, FIRST, "real"), (imag_K, SECOND, "imaginary")):
        axes.plot(milliseconds, weights, color=color, marker="o", markersize=2.6, linewidth=1.1, label=label)
    axes.set_xlabel("time from the patch's centre (ms)")
    legend(axes)
    axes.locator_params(axis="y", nbins=4)
    return figure


@drawn
def frequency_responses(
    real_SK: np.ndarray, imag_SK: np.ndarray, beta_hz: np.ndarray, *, frame_rate: float, title: str, band: Bounds = BAND
) -> Figure:
    """Frequency response of each kernel, in dB below its own peak, coloured by its nominal frequency.

    Args:
        real_SK, imag_SK: the weights.
        beta_hz: frequency of each state, Hz, shape (S,).
        frame_rate: taps per second.
        title: the panel's title.
        band: the alias-prone band, Hz.
    """
    figure, axes = panel(170, title, "gain (dB below its peak)")
    hertz, gain = response(real_SK, imag_SK, frame_rate)
    decibel = 20 * np.log10(np.maximum(gain / gain.max(axis=1, keepdims=True), 1e-4))
    axes.axvspan(*band, color=RULE, alpha=0.35, linewidth=0)
    for curve, color in zip(decibel, RATE_COLORS(LogNorm(*band)(beta_hz)), strict=True):
        axes.plot(hertz, curve, color=color, linewidth=1.1)
    dashed(axes, (1, 50), (-3, -3))
    log_ticks(axes.xaxis, [1, *OCTAVES], hertz_label)
    axes.set(xlabel="modulation frequency (Hz)", xlim=(1, 50), ylim=(-24, 1), yticks=[-24, -18, -12, -3, 0])
    return figure


def response(real_SK: np.ndarray, imag_SK: np.ndarray, frame_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude of the Fourier transform of each kernel at 0 to half the frame rate.

    A kernel exp(-i β m) passes the positive side of β in its inner product with the signal: |Σ w_m e^{iωm}|. A real
    signal has both sides, so the larger response is used.

    Returns:
        Frequencies in Hz, shape (512,), and gains, shape (S, 512).
    """
    gain = np.abs(np.fft.fft(real_SK + 1j * imag_SK, 2 * 511))
    return np.linspace(0, frame_rate / 2, 512), np.maximum(gain[:, :512], gain[:, -np.arange(512)])


@drawn
def embedding_map(points: np.ndarray, labels: np.ndarray, *, title: str) -> Figure:
    """A scatter of points (n, 2) coloured by label, with each label written at its densest place."""
    figure, axes = panel(340, title, "", left=4, right=4)
    names = sorted(set(labels.tolist()))
    assert len(names) <= len(CATEGORIES), f"{len(names)} labels for {len(CATEGORIES)} colours"
    for name, color in zip(names, CATEGORIES, strict=False):
        axes.scatter(*points[labels == name].T, s=9, color=color, alpha=0.75, linewidth=0)
    for name in names:
        own = points[labels == name]
        spread = np.linalg.norm(own[:, None] - own[None], axis=-1)
        near = max(1, len(own) // 5)
        middle = own[np.partition(spread, near - 1, axis=1)[:, :near].mean(1).argmin()]
        axes.text(*middle, name, ha="center", va="center", weight="bold", gid=HALO)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return figure


def _short(names: Sequence[str]) -> tuple[list[str], float]:
    """Class names, shortened if necessary, and the width of the longest in CSS pixels."""
    short = [name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…" for name in names]
    return short, max(map(len, short)) * LETTER + 12
