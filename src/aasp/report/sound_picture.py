"""A picture of one sound in a file of its own: its spectrogram, and over it where a model's class token looks.

T frames, M mel bins, G x F grid of patches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from aasp.files import atomic_write
from aasp.report.spectrogram import Spectrogram

KILOHERTZ = (0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32)
SPAN = 4.0
"""Colours cover attention from a quarter to four times the mean patch's; values beyond take the colour of the end."""


def draw_sound(
    path: Path, clip: Spectrogram, *, title: str, start: float = 0.0, attention_GF: np.ndarray | None = None
) -> None:
    """Draw a sound as PNG, SVG or PDF, by the name of the file, whole or not at all.

    Args:
        path: the picture.
        clip: the log-mel and its axes.
        title: above it.
        start: second of the file at which the clip begins.
        attention_GF: attention on each patch over that on the mean patch, shape (G, F).

    Raises:
        OSError: the disk is full, or nothing can be written there.
    """
    frames, bins = clip.mel.shape
    seconds = frames / clip.frame_rate
    figure = Figure(figsize=(min(16.0, 4.0 + seconds), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    low, high = np.quantile(clip.mel, [0.02, 0.998])
    extent = (start, start + seconds, 0, bins)
    shown = dict(origin="lower", aspect="auto", extent=extent)
    axes.imshow(clip.mel.T, cmap="gray_r", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest", **shown)
    if attention_GF is not None:
        (columns, subbands), (patch, height) = clip.grid, clip.patch
        edges = start + np.minimum(np.arange(columns + 1) * patch, frames) / clip.frame_rate
        mesh = axes.pcolormesh(
            edges,
            np.arange(subbands + 1) * height,
            np.clip(attention_GF, 1 / SPAN, SPAN).T,
            norm=LogNorm(1 / SPAN, SPAN),
            cmap="RdYlBu_r",
            alpha=0.45,
            linewidth=0,
        )
        bar = figure.colorbar(mesh, ax=axes, label="attention, mean patch = 1")
        bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=["≤ ¼", "½", "1", "2", "≥ 4"])
        bar.minorticks_off()
    ticks = [k for k in KILOHERTZ if clip.band_hz[0] <= 1000 * k <= clip.band_hz[-1]]
    places = np.interp([1000 * k for k in ticks], clip.band_hz, np.arange(bins) + 0.5)
    axes.set_yticks(places, [f"{k:g}" for k in ticks])
    axes.set_title(title, parse_math=False)  # a file's name may hold two dollars
    axes.set(xlabel="time (s)", ylabel="frequency (kHz)", xlim=extent[:2], ylim=extent[2:])
    with atomic_write(path) as beside:
        figure.savefig(beside, dpi=150)
