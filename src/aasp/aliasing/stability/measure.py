"""How far a perturbation moves embeddings, clip by clip, and how far the control of the same energy would have.

- cosine: of embeddings less the mean of the clean ones. Raw embeddings all point about the same way: their cosine is
  near one whatever happens. It is kept as well.
- distance: |z' - z| over the median distance between two clean clips: 1 is as far as to another sound.
- timestamps: the same, token by token, against the clean timestamps at the time that is heard (a shift's tokens lie
  between the clean ones: linear interpolation), tokens from beyond the clean clip left out; then the mean over time.
- control at equal energy: for each clip, its control's value as a function of rms decibels, linear between the measured
  strengths and from nothing at 0 dB; not known beyond the strongest.
- alignment: linear centred kernel alignment of the clean and the perturbed set as a whole.

Legend: n clips, G tokens over time, D dimensions, L strengths of the control.
Source: Kornblith et al. 2019 (alignment); the rest ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.distance import pdist

MEASURES = ("cosine", "cosine_raw", "distance", "timestamps_cosine", "timestamps_distance")
AT_REST = {"cosine": 1.0, "distance": 0.0, "timestamps_distance": 0.0}
"""Measures that are compared with the control's, and what they are of an unchanged clip."""


@dataclass(frozen=True)
class Reference:
    """What a subject makes of the clean clips.

    Attributes:
        clip: shape (n, D').
        timestamps: shape (n, G, D).
        seconds: centre of each token, shape (G,).
        length: of a clip in seconds.
    """

    clip: np.ndarray
    timestamps: np.ndarray
    seconds: np.ndarray
    length: float

    @cached_property
    def spread(self) -> tuple[float, float]:
        """Median distance between two clips, and between two clips' tokens at one time."""
        over_time = [np.median(pdist(self.timestamps[:, g])) for g in range(self.timestamps.shape[1])]
        return float(np.median(pdist(self.clip))), float(np.median(over_time))

    def compare(self, clip: np.ndarray, timestamps: np.ndarray, source_seconds: np.ndarray) -> dict[str, np.ndarray]:
        """MEASURES of each clip, shape (n,); NaN over time where an encoder gives nothing over time.

        Args:
            clip: of the perturbed clips, shape (n, D').
            timestamps: likewise, shape (n, G, D).
            source_seconds: when what each token hears happens in the clean clip, shape (G,).
        """
        centre = self.clip.mean(0)
        found = {
            "cosine": cosine(clip - centre, self.clip - centre),
            "cosine_raw": cosine(clip, self.clip),
            "distance": np.linalg.norm(clip - self.clip, axis=-1) / self.spread[0],
        }
        heard = (source_seconds >= self.seconds[0] - 1e-9) & (source_seconds <= self.seconds[-1] + 1e-9)
        if len(self.seconds) < 2 or not heard.any():
            unknown = np.full(len(clip), np.nan)
            return {**found, "timestamps_cosine": unknown, "timestamps_distance": unknown}
        clean = interpolated(self.timestamps, self.seconds, source_seconds[heard])
        moved, mean = timestamps[:, heard], self.timestamps.mean((0, 1))
        return {
            **found,
            "timestamps_cosine": cosine(moved - mean, clean - mean).mean(1),
            "timestamps_distance": np.linalg.norm(moved - clean, axis=-1).mean(1) / self.spread[1],
        }


def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine of vectors along the last axis."""
    return (x * y).sum(-1) / np.maximum(np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1), 1e-12)


def interpolated(values_nGD: np.ndarray, seconds_G: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values at other times, linear between tokens; `wanted` lies within `seconds_G`, as does what comes back."""
    upper = np.clip(np.searchsorted(seconds_G, wanted), 1, len(seconds_G) - 1)
    share = ((wanted - seconds_G[upper - 1]) / (seconds_G[upper] - seconds_G[upper - 1]))[:, None]
    return values_nGD[:, upper - 1] * (1 - share) + values_nGD[:, upper] * share


def control_at(decibel_n: np.ndarray, decibel_Ln: np.ndarray, value_Ln: np.ndarray, at_rest: float) -> np.ndarray:
    """The control's value of each clip at a given change of the log-mel, NaN beyond its strongest, shape (n,).

    Args:
        decibel_n: rms dB asked for.
        decibel_Ln: measured strengths of the control, in rising order.
        value_Ln: what was measured there.
        at_rest: the value at 0 dB.
    """
    zeros = np.zeros((1, len(decibel_n)))
    x, y = np.vstack([zeros, decibel_Ln]), np.vstack([zeros + at_rest, value_Ln])
    pairs = zip(decibel_n, x.T, y.T, strict=True)
    return np.array([np.interp(asked, one, value, right=np.nan) for asked, one, value in pairs])


class Alignment:
    """Linear centred kernel alignment of two sets of embeddings of the same clips, as a function of clip weights.

    Args:
        x: shape (n, D).
        y: shape (n, D'), row by row of the same clips.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        # Centring first leaves the result as it is and saves digits.
        x, y = ((z - z.mean(0)).astype(np.float64) for z in (x, y))
        K, L = x @ x.T, y @ y.T
        self.kernels = ((K, L, K * L), (K, K, K * K), (L, L, L * L))

    def __call__(self, weights: np.ndarray) -> float:
        """Alignment, 0 to 1, each clip counted as often as `weights` (n,) says.

        It is 1 for sets that are alike but for rotation, translation and scale; NaN for a set without variance.
        """
        between, of_x, of_y = (self._product(*kernels, weights) for kernels in self.kernels)
        return float(between / np.sqrt(of_x * of_y)) if of_x * of_y > 0 else np.nan

    @staticmethod
    def _product(K: np.ndarray, L: np.ndarray, KL: np.ndarray, w: np.ndarray) -> float:
        """Σ_ij w_i w_j K°_ij L°_ij, K° and L° centred by weighted means."""
        total, Kw, Lw = w.sum(), K @ w, L @ w
        return w @ KL @ w - 2 * (w * Kw) @ Lw / total + (w @ Kw) * (w @ Lw) / total**2
