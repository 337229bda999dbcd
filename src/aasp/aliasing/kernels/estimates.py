"""Estimated decays and frequencies: sources of variance, distance from their start, saturation, and their effect.

Legend: n clips, each with an array (G, F, S): time patches, subbands, states. B clips of a batch, T frames, M mel bins.
Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aasp.evaluate.intervals import Interval, interval
from aasp.report.rates import shares
from aasp.stems.lambda_encoder import saturated
from aasp.stems.states import States

Bounds = tuple[float, float]
How = Literal["shuffled", "mean", "off"]
Measured = Mapping[str, float | None]
"""Estimate, and the ends of its 95 % interval over clips: both None if there are too few."""
LEAST = "<0.01"
ROUNDING = 1e-9
"""A variance below this share of the mean square is rounding error."""


def over_clips(values_n: Sequence[float] | np.ndarray, minus: np.ndarray | None = None) -> Measured:
    """Mean of one value per clip, or of the paired difference of two."""
    if len(values_n) < 2:
        return {"estimate": float(values_n[0] - (0 if minus is None else minus[0])), "low": None, "high": None}
    return _measured(interval(values_n, minus=minus, share=False))


def _measured(found: Interval) -> Measured:
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def percent(found: Measured) -> str:
    """12.3 % (11.0 to 14.1), the estimate alone if there is no interval; below one, two significant digits."""
    alone, ends = f"{number(found['estimate'] or 0)} %", [found[end] for end in ("low", "high")]
    between = [number(end) for end in ends if end is not None]
    return alone if set(between) <= {LEAST} else f"{alone} ({' to '.join(between)})"


def number(share: float) -> str:
    """A share in per cent: 12.3, 0.042, <0.01, 0."""
    value = 100 * share
    if 0 < value < 0.01:
        return LEAST
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def variance(values: Sequence[np.ndarray]) -> dict[str, Any]:
    """Sources of the variance of a parameter, (G, F, S) per clip; clips have equal weight, as have a clip's patches.

    The law of total variance, applied twice. From the outside in:

        total = between clips + between the patches of a clip + between the states of a patch

    and relative to the mean of each subband and state over all clips, which needs no estimation:

        total = fixed + what depends on the sound

    Returns:
        `clips`, `patches` and `states` as shares of the total, `sound` with its interval, and the standard deviation
        `moves` of what depends on the sound, in the parameter's own unit. All shares are zero if nothing varies.
    """
    mean_nFS = np.stack([x.mean(0) for x in values]).astype(np.float64)
    mean_n = mean_nFS.mean((1, 2))
    square_n = np.array([np.square(x, dtype=np.float64).mean() for x in values])
    patch_square_n = np.array([np.square(x.mean(-1, dtype=np.float64)).mean() for x in values])
    least = ROUNDING * square_n.mean()

    def parts(weight_n: np.ndarray) -> tuple[np.ndarray, float]:
        """The three nested parts, and the fixed one."""
        w = weight_n / weight_n.sum()
        centre = w @ mean_n
        between_clips = w @ mean_n**2 - centre**2
        nested = np.array([between_clips, w @ (patch_square_n - mean_n**2), w @ (square_n - patch_square_n)])
        return nested, np.square(np.tensordot(w, mean_nFS, 1)).mean() - centre**2

    def sound(weight_n: np.ndarray) -> float:
        nested, fixed = parts(weight_n)
        total = nested.sum()
        return 1 - fixed / total if total > least else 0.0

    nested, fixed = parts(np.ones(len(values)))
    total = nested.sum()
    each = np.maximum(nested / total, 0.0) if total > least else np.zeros(3)
    return {
        **dict(zip(("clips", "patches", "states"), each.tolist(), strict=True)),
        "sound": _measured(interval([sound], clusters=np.arange(len(values)))),
        "moves": float(np.sqrt(max(total - fixed, 0.0))),
    }


def saturation(values: Sequence[np.ndarray], bounds: Bounds) -> dict[str, Measured]:
    """Share of states at the lower and at the upper bound."""
    low, high = np.array([[float(side.mean()) for side in saturated(x, bounds)] for x in values]).T
    return {"low": over_clips(low), "high": over_clips(high)}


def distance(values: Sequence[np.ndarray], origin_S: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Mean distance of each clip's parameters from their states' start values, as a share of the range, (n,)."""
    return np.array([np.abs(x - origin_S).mean() for x in values]) / (bounds[1] - bounds[0])


def describe(
    now: Sequence[np.ndarray], start: Sequence[np.ndarray], origin_S: np.ndarray, bounds: Bounds
) -> dict[str, Any]:
    """All results for one parameter: of the trained stem, and of the untrained one, with states at `origin_S`."""
    far, far_at_start = distance(now, origin_S, bounds), distance(start, origin_S, bounds)
    histogram = lambda values: shares(np.concatenate(values), bounds).tolist()
    return {
        "bounds": list(bounds),
        "shares": {"start": histogram(start), "now": histogram(now)},
        "saturation": saturation(now, bounds),
        "saturation at start": saturation(start, bounds),
        "variance": variance(now),
        "variance at start": variance(start),
        "distance": over_clips(far),
        "distance at start": over_clips(far_at_start),
        "moved": over_clips(far, minus=far_at_start),
    }


def untrained(stem: States, seed: int) -> States:
    """The same stem with the initial weights for a seed: a model's stem is initialised before other random parts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return stem.untrained().eval()


def intervene(stem: States, how: How) -> States:
    """A copy with Lambda "shuffled" over the patches of a clip, its "mean" over them, or the SBLU's features "off"."""
    if how == "off":
        return stem.silenced()

    def changed(value: Tensor) -> Tensor:
        patches = value.flatten(1, 2)
        if how == "mean":
            patches = patches.mean(1, keepdim=True).expand_as(patches)
        else:
            patches = patches[:, torch.randperm(patches.shape[1], generator=torch.Generator().manual_seed(0))]
        return patches.unflatten(1, value.shape[1:3])

    return stem.changed(lambda alpha, beta: (changed(alpha), changed(beta)))


def share(stem: States, alpha_FS: Tensor, beta_FS: Tensor) -> States:
    """A copy with one Lambda for all patches of a subband, as in a stem that learns Lambda without estimating it."""
    return stem.changed(lambda alpha, beta: (alpha_FS.expand_as(alpha), beta_FS.expand_as(beta)))


def means(values: list[np.ndarray]) -> Tensor:
    """Mean of each subband and state over all patches of all clips, (F, S); clips have equal weight."""
    return torch.from_numpy(np.mean([x.mean(0) for x in values], axis=0))


@torch.no_grad()
def change(stem: States, changed: States, mel_BTM: Tensor) -> dict[str, float]:
    """The effect of an intervention on tokens and SBLU outputs, relative to their variation between patches.

    Returns:
        `tokens`: root mean square change over the root mean square deviation of tokens from their mean. `features`: the
        same for the SBLU's outputs at unit gain, relative to these outputs, which are 0 without modulation; switching
        the features off does not change its outputs.
    """
    before, after = stem(mel_BTM), changed(mel_BTM)
    ours, theirs = (torch.stack(one.responses(mel_BTM, gain="unit")) for one in (stem, changed))
    ratio = lambda difference, of: float(difference.norm() / of.norm().clamp_min(1e-12))
    return {
        "tokens": ratio(after - before, before - before.mean(1, keepdim=True)),
        "features": ratio(theirs - ours, ours),
    }
