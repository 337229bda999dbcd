"""Spectrograms: in ink on a page, with masks or each patch's modulation rate; and as a separate picture file.

T frames, M mel bins, G x F grid of patches (time x subbands), time-major as in the stems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from aasp.features import FrontEnd
from aasp.files import atomic_write
from aasp.report.rates import BAND, Bounds, hertz_label, octaves
from aasp.report.style import INVERTED, MUTED, RULE, drawn, panel

HEIGHT = 184
RATE_COLORS = LinearSegmentedColormap.from_list("rate", ["#4a7fd0", "#2f9e8f", "#d39b22", "#cf4a52"])
"""Colours of modulation rates, of medium brightness, which stand out on light and dark paper."""
KILOHERTZ = (0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 32)
"""Ticks in a picture."""
SPAN = 4.0
"""Colours span a quarter to four times the mean patch's attention; values beyond have the colour of the end."""


def axis_hz(front: FrontEnd) -> np.ndarray:
    """Frequencies of a front end's bins as an axis, (M,), rising: where filters have changed places, sorted.

    Raises:
        AaspError: the front end does not define them.
    """
    return np.sort(front.centres().cpu().double().numpy())


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

    @property
    def loudness(self) -> tuple[float, float]:
        """Values shown as silence and as the loudest."""
        low, high = np.quantile(self.mel, [0.02, 0.998]).tolist()
        return low, max(high, low + 1e-6)

    def rows(self, kilohertz: Sequence[float]) -> np.ndarray:
        """Positions of frequencies, in mel bins from below."""
        return np.interp([1000 * k for k in kilohertz], self.band_hz, np.arange(self.mel.shape[1]) + 0.5)


@drawn
def spectrogram(clip: Spectrogram, *, title: str) -> Figure:
    """The whole spectrogram: the teacher's input."""
    return _inked(clip, title)[0]


@drawn
def masked_view(clip: Spectrogram, visible: np.ndarray, *, title: str) -> Figure:
    """The spectrogram with all but the visible patches (n,), numbered g * F + f, faded: the student's input."""
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
    """The spectrogram with each patch tinted by its estimated modulation rate.

    Args:
        clip: the clip.
        rate_GF: Hz, within the band, shape (G, F).
        strength_GF: relative strength of that rate in the patch, 0 (no tint) to 1, shape (G, F).
        title: the panel's title.
        band: in Hz.
    """
    figure, axes = _inked(clip, title, depth=0.6, right=44)
    norm = LogNorm(*band)
    tints = [_patch(clip, g, f) for g, f in np.ndindex(*clip.grid)]
    colors = RATE_COLORS(norm(rate_GF.reshape(-1)))
    colors[:, 3] = np.clip(strength_GF.reshape(-1), 0, 1)
    axes.add_collection(PatchCollection(tints, facecolor=colors, edgecolor="none", zorder=-1))
    box = axes.get_position()
    beside = figure.add_axes((box.x1 + 0.02, box.y0, 0.024, box.height))
    bar = figure.colorbar(ScalarMappable(norm, RATE_COLORS), cax=beside)
    bar.set_ticks(octaves(band), labels=list(map(hertz_label, octaves(band))))
    bar.minorticks_off()
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(length=0)
    figure.text(1, box.y1 + 10 / HEIGHT, "looks at (Hz)", ha="right", color=MUTED)
    return figure


def draw_sound(
    path: Path, clip: Spectrogram, *, title: str, start: float = 0.0, attention_GF: np.ndarray | None = None
) -> None:
    """Draw a sound as PNG, SVG or PDF, by the file's extension, completely or not at all.

    Args:
        path: the picture.
        clip: the log-mel and its axes.
        title: the title above it.
        start: start of the clip in the file, in seconds.
        attention_GF: a model's attention on each patch, relative to the mean patch, shape (G, F).

    Raises:
        OSError: the disk is full, or the location is not writable.
    """
    frames, bins = clip.mel.shape
    seconds = frames / clip.frame_rate
    figure = Figure(figsize=(min(16.0, 4.0 + seconds), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    extent = (start, start + seconds, 0, bins)
    image = axes.imshow(clip.mel.T, "gray_r", aspect="auto", interpolation="nearest", origin="lower", extent=extent)
    image.set_clim(*clip.loudness)
    if attention_GF is not None:
        (columns, subbands), (patch, height) = clip.grid, clip.patch
        edges = start + np.minimum(np.arange(columns + 1) * patch, frames) / clip.frame_rate
        cells = (edges, np.arange(subbands + 1) * height, np.clip(attention_GF, 1 / SPAN, SPAN).T)
        mesh = axes.pcolormesh(*cells, norm=LogNorm(1 / SPAN, SPAN), cmap="RdYlBu_r", alpha=0.45, linewidth=0)
        bar = figure.colorbar(mesh, ax=axes, label="attention, mean patch = 1")
        bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=["≤ ¼", "½", "1", "2", "≥ 4"])
        bar.minorticks_off()
    ticks = [k for k in KILOHERTZ if clip.band_hz[0] <= 1000 * k <= clip.band_hz[-1]]
    axes.set_yticks(clip.rows(ticks), [f"{k:g}" for k in ticks])
    axes.set_title(title, parse_math=False)  # a file's name may contain two dollar signs
    axes.set(xlabel="time (s)", ylabel="frequency (kHz)", xlim=extent[:2], ylim=extent[2:])
    with atomic_write(path) as beside:
        figure.savefig(beside, dpi=150)


def _inked(clip: Spectrogram, title: str, *, depth: float | np.ndarray = 1.0, right: float = 8) -> tuple[Figure, Axes]:
    """Loudness as ink, scaled by `depth` (a number, or (T, M)); silence is blank, and faint sounds nearly so."""
    figure, axes = panel(HEIGHT, title, "frequency (kHz)", left=24, right=right)
    frames, mels = clip.mel.shape
    low, high = clip.loudness
    ink = np.full((mels, frames, 4), 0.12)
    ink[..., 3] = (depth * np.clip((clip.mel - low) / (high - low), 0, 1) ** 1.6).T
    extent = (0, frames / clip.frame_rate, 0, mels)
    image = axes.imshow(ink, origin="lower", aspect="auto", interpolation="none", extent=extent)
    image.set_gid(INVERTED)
    kilohertz = [0.2, 0.5, 1, 2, 4]
    axes.set_yticks(clip.rows(kilohertz), kilohertz)
    axes.set(xlabel="time (s)", xlim=extent[:2], ylim=extent[2:])
    axes.spines[:].set_visible(False)
    return figure, axes


def _patch(clip: Spectrogram, column: int, subband: int) -> Rectangle:
    seconds, bins = clip.patch[0] / clip.frame_rate, clip.patch[1]
    return Rectangle((column * seconds, subband * bins), seconds, bins)
