"""How far a perturbation moves embeddings, clip by clip, and how far the control of the same energy would have.

- cosine: of embeddings less the mean of the clean ones. Raw embeddings all point about the same way: their cosine is
  near one whatever happens. It is kept as well.
- distance: |z' - z| over the median distance between two clean clips: 1 is as far as to another sound.
- timestamps: the same, token by token, against the clean timestamps at the same time of the sound (a shift's tokens lie
  between the clean ones: linear interpolation), tokens from beyond the clean clip left out; then the mean over time.
- control at equal energy: for each clip, its control's value as a function of rms decibels, linear between the measured
  strengths and from nothing at 0 dB; not known beyond the strongest.
- alignment: linear centred kernel alignment of the clean and the perturbed set as a whole.

Legend: n clips, S samples, G tokens over time, D dimensions, M mel bins, L strengths of the control.
Source: Kornblith et al. 2019 (alignment); the rest ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import soxr
import torch
from scipy.spatial.distance import pdist
from torch import Tensor

from aasp.aliasing.adapters import EncoderAdapter
from aasp.aliasing.stability.excerpts import RATE, Excerpts, energy, log_power, to_decibel
from aasp.aliasing.stability.perturbations import CLEAN, Row

MEASURES = ("cosine", "cosine_raw", "distance", "timestamps_cosine", "timestamps_distance")
AT_REST = {"cosine": 1.0, "distance": 0.0, "timestamps_distance": 0.0}
"""Measures that are compared with the control's, and what they are of an unchanged clip."""


@dataclass(frozen=True)
class Reference:
    """What an adapter makes of the clean clips: clip vectors (n, D'), timestamps (n, G, D) and their centres in seconds
    (G,), of clips of `length` seconds."""

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
        """MEASURES of each perturbed clip, shape (n,); NaN over time where an encoder gives nothing over time.

        Args:
            clip: of the perturbed clips, shape (n, D').
            timestamps: likewise, shape (n, G, D).
            source_seconds: when what each token represents happens in the clean clip, shape (G,).
        """
        centre = self.clip.mean(0)
        found = {
            "cosine": cosine(clip - centre, self.clip - centre),
            "cosine_raw": cosine(clip, self.clip),
            "distance": np.linalg.norm(clip - self.clip, axis=-1) / self.spread[0],
        }
        inside = (source_seconds >= self.seconds[0] - 1e-9) & (source_seconds <= self.seconds[-1] + 1e-9)
        if len(self.seconds) < 2 or not inside.any():
            unknown = np.full(len(clip), np.nan)
            return {**found, "timestamps_cosine": unknown, "timestamps_distance": unknown}
        clean = interpolated(self.timestamps, self.seconds, source_seconds[inside])
        moved, mean = timestamps[:, inside], self.timestamps.mean((0, 1))
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
        decibel_n: rms dB at which it is wanted.
        decibel_Ln: measured strengths of the control, in rising order.
        value_Ln: what was measured there.
        at_rest: the value at 0 dB.
    """
    zeros = np.zeros((1, len(decibel_n)))
    x, y = np.vstack([zeros, decibel_Ln]), np.vstack([zeros + at_rest, value_Ln])
    pairs = zip(decibel_n, x.T, y.T, strict=True)
    return np.array([np.interp(wanted, one, value, right=np.nan) for wanted, one, value in pairs])


class Alignment:
    """Linear centred kernel alignment of two embeddings (n, D) and (n, D') of the same clips, as a function of
    weights."""

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


@dataclass(frozen=True)
class Observed:
    """Of one adapter: its reference, and by key of each row MEASURES of each clip, (n,), and clip vectors, (n, D)."""

    reference: Reference
    measures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    clip: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Observations:
    """By key of each row the rms change of each clip's log-mel in decibels, (n,), and `statistics` of the log-mels,
    (n, 3 M); and what was observed of each adapter, in their order."""

    decibel: dict[str, np.ndarray]
    adapters: list[Observed]
    statistics: dict[str, np.ndarray]


def observe(
    adapters: Sequence[EncoderAdapter],
    clips: Excerpts,
    table: Sequence[Row],
    seed: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Observations:
    """Embed the clean clips, and those of every row of the table, by every adapter; `seed` is of the perturbations."""
    length, total = clips.samples / RATE, (len(table) + 1) * len(adapters)
    done = iter(range(1, total + 1))
    observed = []
    for adapter in adapters:
        observed.append(Observed(Reference(*_embed(adapter, list(CLEAN.waves(clips, seed))), length)))
        progress(next(done), total)
    clean_mel = log_power(clips.clean)
    decibel, kept = {}, {}
    for row in table:
        waves = list(row.waves(clips, seed))
        mel_nTM = log_power(torch.cat(waves))
        decibel[row.key] = to_decibel(energy(clean_mel, mel_nTM)).numpy().astype(np.float64)
        kept[row.key] = statistics(mel_nTM)
        for adapter, one in zip(adapters, observed, strict=True):
            clip, timestamps, seconds = _embed(adapter, waves)
            source = row.perturbation.source_seconds(seconds)
            one.measures[row.key] = one.reference.compare(clip, timestamps, source)
            one.clip[row.key] = clip
            progress(next(done), total)
    return Observations(decibel, observed, kept)


def statistics(mel_nTM: Tensor) -> np.ndarray:
    """Of each mel bin, the mean over time, the deviation, and the deviation of its change from frame to frame."""
    return torch.cat([mel_nTM.mean(1), mel_nTM.std(1), mel_nTM.diff(dim=1).std(1)], dim=1).numpy()


def _embed(adapter: EncoderAdapter, waves: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clip vectors (n, D'), timestamps (n, G, D) and their seconds (G,)."""
    found = [adapter.embed_waveform(_at_rate(wave_BS, adapter.rate)) for wave_BS in waves]
    join = lambda parts: torch.cat(parts).double().cpu().numpy()
    seconds = found[0].seconds.double().cpu().numpy()
    return join([one.clip for one in found]), join([one.timestamps for one in found]), seconds


def _at_rate(wave_BS: Tensor, rate: int) -> Tensor:
    """Waveforms at the rate that an adapter takes."""
    return wave_BS if rate == RATE else torch.from_numpy(soxr.resample(wave_BS.T.numpy(), RATE, rate).T.copy())
