"""Spectrograms in ink on paper, and what is laid over them: masks, and the modulation rate each patch looks at.

T frames, M mel bins, G x F grid of patches (time x subbands), time-major as the stems have them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from aasp.report.rates import BAND, Bounds, hertz_label, octaves
from aasp.report.style import INVERTED, MUTED, RULE, drawn, panel

HEIGHT = 184
RATE_COLORS = LinearSegmentedColormap.from_list("rate", ["#4a7fd0", "#2f9e8f", "#d39b22", "#cf4a52"])
"""Modulation rates, an even mid-tone that stands out on light and dark paper."""


@dataclass(frozen=True)
class Spectrogram:
    """A log-mel and its axes.

    Attributes:
        mel: shape (T, M).
        band_hz: centre of each mel bin, shape (M,).
        frame_rate: frames per second.
        patch: (frames, mel bins) of a patch.
    """

    mel: np.ndarray
    band_hz: np.ndarray
    frame_rate: float
    patch: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """(G, F); a partial last patch counts."""
        return -(-self.mel.shape[0] // self.patch[0]), self.mel.shape[1] // self.patch[1]


@drawn
def spectrogram(clip: Spectrogram, *, title: str) -> Figure:
    """The whole spectrogram: what the teacher sees."""
    return _inked(clip, title)[0]


@drawn
def masked_view(clip: Spectrogram, visible: np.ndarray, *, title: str) -> Figure:
    """The spectrogram with all but the visible patches faded: what the student sees.

    Args:
        clip: the clip.
        visible: indices n = g * F + f of the visible patches, shape (n,).
        title: of the panel.
    """
    columns, subbands = clip.grid
    seen = np.zeros(columns * subbands)
    seen[visible] = 1.0
    shade = np.kron(seen.reshape(columns, subbands), np.ones(clip.patch))[: len(clip.mel)]
    figure, axes = _inked(clip, title, depth=0.05 + 0.95 * shade)
    shown = [_patch(clip, *divmod(int(n), subbands)) for n in visible]
    axes.add_collection(PatchCollection(shown, facecolor=RULE, edgecolor="none", alpha=0.45, zorder=-1))
    return figure


@drawn
def patch_rates(
    clip: Spectrogram, rate_GF: np.ndarray, strength_GF: np.ndarray, *, title: str, band: Bounds = BAND
) -> Figure:
    """The spectrogram with each patch tinted by the modulation rate it looks at.

    Args:
        clip: the clip.
        rate_GF: Hz, within the band, shape (G, F).
        strength_GF: how much of it the patch holds, 0 (no tint) to 1, shape (G, F).
        title: of the panel.
        band: in Hz.
    """
    figure, axes = _inked(clip, title, depth=0.6, right=44)
    norm = LogNorm(*band)
    tints = [_patch(clip, g, f) for g, f in np.ndindex(*clip.grid)]
    colors = RATE_COLORS(norm(rate_GF.reshape(-1)))
    colors[:, 3] = np.clip(strength_GF.reshape(-1), 0, 1)
    axes.add_collection(PatchCollection(tints, facecolor=colors, edgecolor="none", zorder=-1))
    box = axes.get_position()
    bar = figure.colorbar(
        ScalarMappable(norm, RATE_COLORS), cax=figure.add_axes((box.x1 + 0.02, box.y0, 0.024, box.height))
    )
    bar.set_ticks(octaves(band), labels=list(map(hertz_label, octaves(band))))
    bar.minorticks_off()
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(length=0)
    figure.text(1, box.y1 + 10 / HEIGHT, "looks at (Hz)", ha="right", color=MUTED)
    return figure


def _inked(clip: Spectrogram, title: str, *, depth: float | np.ndarray = 1.0, right: float = 8) -> tuple[Figure, Axes]:
    """Loud is ink, as dense as `depth` (everywhere, or (T, M)); silence is paper, and the faintest sounds nearly so."""
    figure, axes = panel(HEIGHT, title, "frequency (kHz)", left=24, right=right)
    frames, mels = clip.mel.shape
    low, high = np.quantile(clip.mel, [0.02, 0.998])
    ink = np.zeros((mels, frames, 4))
    ink[..., :3] = 0.12
    ink[..., 3] = (depth * np.clip((clip.mel - low) / max(high - low, 1e-6), 0, 1) ** 1.6).T
    extent = (0, frames / clip.frame_rate, 0, mels)
    image = axes.imshow(ink, origin="lower", aspect="auto", interpolation="none", extent=extent)
    image.set_gid(INVERTED)
    kilohertz = [0.2, 0.5, 1, 2, 4]
    axes.set_yticks(np.interp([1000 * k for k in kilohertz], clip.band_hz, np.arange(mels) + 0.5), kilohertz)
    axes.set(xlabel="time (s)", xlim=extent[:2], ylim=extent[2:])
    axes.spines[:].set_visible(False)
    return figure, axes


def _patch(clip: Spectrogram, column: int, subband: int) -> Rectangle:
    seconds, bins = clip.patch[0] / clip.frame_rate, clip.patch[1]
    return Rectangle((column * seconds, subband * bins), seconds, bins)
