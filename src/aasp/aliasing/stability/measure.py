"""How far a perturbation moves embeddings, for each clip, compared with a control of the same energy.

Cosines are of embeddings minus the mean of the clean ones: raw embeddings all have about the same direction
(`cosine_raw`). A distance of 1 is the median between two clean clips. Timestamps are compared with the clean ones at
the same time in the sound (for a shift between those: linear interpolation), and averaged over time. The control's
value for a clip is a function of rms decibels: linear between the measured strengths, zero change at 0 dB, unknown
beyond the strongest.

Legend: n clips, S samples, G tokens over time, D dimensions, M mel bins, L strengths of the control, R rates.
Source: Kornblith et al. 2019 (alignment); the rest ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import soxr
import torch
from scipy.spatial.distance import pdist
from torch import Tensor

from aasp.aliasing.stability.excerpts import RATE, Excerpts, energy, log_power, to_decibel
from aasp.aliasing.stability.perturbations import CLEAN, Row
from aasp.encoders import EncoderAdapter

MEASURES = ("cosine", "cosine_raw", "distance", "timestamps_cosine", "timestamps_distance")
AT_REST = {"cosine": 1.0, "distance": 0.0, "timestamps_distance": 0.0}
"""Measures that are compared with the control's, and their values for an unchanged clip."""


@dataclass(frozen=True)
class Embedded:
    """An adapter's outputs for clips: clip vectors (n, D'), timestamps (n, G, D) and their centres in seconds (G,)."""

    clip: np.ndarray
    timestamps: np.ndarray
    seconds: np.ndarray

    @cached_property
    def spread(self) -> tuple[float, float]:
        """Median distance between two clips, and between two clips' tokens at the same time."""
        over_time = [np.median(pdist(self.timestamps[:, g])) for g in range(self.timestamps.shape[1])]
        return float(np.median(pdist(self.clip))), float(np.median(over_time))

    def compare(self, moved: Embedded, source_seconds: np.ndarray) -> dict[str, np.ndarray]:
        """MEASURES of each perturbed clip, shape (n,); NaN for those over time if an encoder has no output over time.

        Args:
            moved: the perturbed clips.
            source_seconds: time in the clean clip of each token's content, shape (G,).
        """
        centre = self.clip.mean(0)
        found = {
            "cosine": cosine(moved.clip - centre, self.clip - centre),
            "cosine_raw": cosine(moved.clip, self.clip),
            "distance": np.linalg.norm(moved.clip - self.clip, axis=-1) / self.spread[0],
        }
        inside = (source_seconds >= self.seconds[0] - 1e-9) & (source_seconds <= self.seconds[-1] + 1e-9)
        if len(self.seconds) < 2 or not inside.any():
            return found | dict.fromkeys(MEASURES[3:], np.full(len(self.clip), np.nan))
        clean = interpolated(self.timestamps, self.seconds, source_seconds[inside])
        tokens, mean = moved.timestamps[:, inside], self.timestamps.mean((0, 1))
        return {
            **found,
            "timestamps_cosine": cosine(tokens - mean, clean - mean).mean(1),
            "timestamps_distance": np.linalg.norm(tokens - clean, axis=-1).mean(1) / self.spread[1],
        }


def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine of vectors along the last axis."""
    return (x * y).sum(-1) / np.maximum(np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1), 1e-12)


def interpolated(values_nGD: np.ndarray, seconds_G: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values at other times, linear between tokens; `wanted` is within `seconds_G`, as is the result."""
    upper = np.clip(np.searchsorted(seconds_G, wanted), 1, len(seconds_G) - 1)
    share = ((wanted - seconds_G[upper - 1]) / (seconds_G[upper] - seconds_G[upper - 1]))[:, None]
    return values_nGD[:, upper - 1] * (1 - share) + values_nGD[:, upper] * share


def control_at(decibel_n: np.ndarray, decibel_Ln: np.ndarray, value_Ln: np.ndarray, at_rest: float) -> np.ndarray:
    """The control's value for each clip at a given change of the log-mel, NaN beyond its strongest, shape (n,).

    Args:
        decibel_n: rms dB at which it is evaluated.
        decibel_Ln: measured strengths of the control, in ascending order.
        value_Ln: the values measured there.
        at_rest: the value at 0 dB.
    """
    zeros = np.zeros((1, len(decibel_n)))
    x, y = np.vstack([zeros, decibel_Ln]), np.vstack([zeros + at_rest, value_Ln])
    pairs = zip(decibel_n, x.T, y.T, strict=True)
    return np.array([np.interp(wanted, one, value, right=np.nan) for wanted, one, value in pairs])


class Alignment:
    """Linear centred kernel alignment of two embeddings (n, D) and (n, D') of the same clips, as a function of
    weights.

    The Hilbert-Schmidt independence criteria in it are unbiased (Song et al. 2012): only pairs of different clips
    count. A clip is as similar to itself as can be, which raises the alignment of few clips, and again that of a
    resample, in which clips are repeated.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        # Centring first does not change the result and reduces rounding errors.
        x, y = ((z - z.mean(0)).astype(np.float64) for z in (x, y))
        K, L = x @ x.T, y @ y.T
        for kernel in (K, L):
            np.fill_diagonal(kernel, 0.0)
        self.kernels = ((K, L, K * L), (K, K, K * K), (L, L, L * L))

    def __call__(self, weights: np.ndarray) -> float:
        """Alignment, each clip weighted by `weights` (n,).

        It is 1 for sets that are equal up to rotation, translation and scale, and on average 0 for independent ones;
        NaN for fewer than four clips with a weight, or a set without variance.
        """
        if np.count_nonzero(weights) < 4:
            return np.nan
        between, of_x, of_y = (self._criterion(*kernels, weights) for kernels in self.kernels)
        return float(between / np.sqrt(of_x * of_y)) if of_x > 0 and of_y > 0 else np.nan

    @staticmethod
    def _criterion(K: np.ndarray, L: np.ndarray, KL: np.ndarray, w: np.ndarray) -> float:
        """Mean of K_ij L_ij - 2 K_ij L_iq + K_ij L_qr over four different clips, each counted `w` times.

        Sums over all clips, minus the terms with a clip in two places.
        """
        one, two, three, four = (float((w**power).sum()) for power in (1, 2, 3, 4))
        w2, w3 = w**2, w**3
        Kw, Lw, KLw, KLw2 = K @ w, L @ w, KL @ w, KL @ w2
        pair = (one**2 - two) * (w @ KLw) - 4 * one * (w2 @ KLw) + 4 * (w3 @ KLw) + 2 * (w2 @ KLw2)
        shared = w @ ((one - w) * (Kw * Lw - KLw2) - (K @ w2) * Lw - Kw * (L @ w2) + 2 * KL @ w3)
        apart = (w @ Kw) * (w @ Lw) - 4 * (w2 * Kw) @ Lw + 2 * (w2 @ KLw2)
        quadruples = one**4 - 6 * one**2 * two + 3 * two**2 + 8 * one * three - 6 * four
        return (pair - 2 * shared + apart) / quadruples


@dataclass
class Observed:
    """The measurements of one adapter.

    Attributes:
        clean: the clean clips.
        clip: by row key, clip vectors (n, D').
        values: by row key, arrays of one value per clip, (n,), by name: MEASURES; `control_` plus a measure of AT_REST,
            the control's value at the same change of the log-mel; `excess` and `timestamps_excess`, the distance minus
            the control's; `flips`, 1 if a probe classifies the clip differently. NaN if a clip has no value: its change
            is beyond the strongest control.
        reading: the rates that probes decode, (R, n): `alone` and `compared`, see `probes.decoded`.
        right: whether a probe classifies each clean clip correctly, (n,); None without labels.
    """

    clean: Embedded
    clip: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    reading: dict[str, np.ndarray] = field(default_factory=dict)
    right: np.ndarray | None = None


class Observations(NamedTuple):
    """By row key the rms change of each clip's log-mel in decibels, (n,), and `statistics` of the log-mels, (n, 3 M);
    and the measurements of each adapter, in order."""

    decibel: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    adapters: list[Observed]


def observe(
    adapters: Sequence[EncoderAdapter],
    clips: Excerpts,
    table: Sequence[Row],
    seed: int,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Observations:
    """Embed the clean clips and those of every row of the table with every adapter, and compare them with each other
    and with the control; `seed` is for the perturbations."""
    total = (len(table) + 1) * len(adapters)
    done = iter(range(1, total + 1))
    seen = Observations({}, {}, [])
    for adapter in adapters:
        seen.adapters.append(Observed(_embed(adapter, list(CLEAN.waves(clips, seed)))))
        progress(next(done), total)
    clean_mel = log_power(clips.clean)
    for row in table:
        waves = list(row.waves(clips, seed))
        mel_nTM = log_power(torch.cat(waves))
        seen.decibel[row.key] = to_decibel(energy(clean_mel, mel_nTM)).numpy().astype(np.float64)
        seen.statistics[row.key] = statistics(mel_nTM)
        for adapter, one in zip(adapters, seen.adapters, strict=True):
            moved = _embed(adapter, waves)
            one.values[row.key] = one.clean.compare(moved, row.perturbation.source_seconds(moved.seconds))
            one.clip[row.key] = moved.clip
            progress(next(done), total)
    controls = [row.key for row in table if row.family == "control"]
    strengths = np.stack([seen.decibel[key] for key in controls])
    for one in seen.adapters:
        curves = {measure: np.stack([one.values[key][measure] for key in controls]) for measure in AT_REST}
        for key, values in one.values.items():
            if key not in controls:
                for measure, at_rest in AT_REST.items():
                    control = control_at(seen.decibel[key], strengths, curves[measure], at_rest)
                    values[f"control_{measure}"] = control
                values["excess"] = values["distance"] - values["control_distance"]
                values["timestamps_excess"] = values["timestamps_distance"] - values["control_timestamps_distance"]
    return seen


def statistics(mel_nTM: Tensor) -> np.ndarray:
    """For each mel bin, the mean over time, the deviation, and the deviation of its change from frame to frame."""
    return torch.cat([mel_nTM.mean(1), mel_nTM.std(1), mel_nTM.diff(dim=1).std(1)], dim=1).numpy()


def _embed(adapter: EncoderAdapter, waves: Sequence[Tensor]) -> Embedded:
    found = [adapter.embed_waveform(_at_rate(wave_BS, adapter.rate)) for wave_BS in waves]
    join = lambda parts: torch.cat(parts).cpu().double().numpy()
    seconds = found[0].seconds.cpu().double().numpy()
    return Embedded(join([one.clip for one in found]), join([one.timestamps for one in found]), seconds)


def _at_rate(wave_BS: Tensor, rate: int) -> Tensor:
    """Waveforms resampled to an adapter's rate."""
    return wave_BS if rate == RATE else torch.from_numpy(soxr.resample(wave_BS.T.numpy(), RATE, rate).T.copy())
