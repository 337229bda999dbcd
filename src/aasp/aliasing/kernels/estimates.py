"""Estimated decays and frequencies: what varies with what, how far from their start, how many at a bound, what they do.

Intervals are the project's (`aasp.evaluate.intervals`), clips drawn.

Legend: n clips; of each an array (G, F, S): time patches, subbands, states. B clips of a batch, T frames, M mel bins.
Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aasp.evaluate.intervals import interval
from aasp.report.rates import shares
from aasp.stems.lambda_encoder import saturated
from aasp.stems.states import States

Bounds = tuple[float, float]
How = Literal["shuffled", "mean", "off"]
Measured = Mapping[str, float | None]
"""Estimate, and the low and high end of its 95 % interval: both None where there is but one clip to draw from."""
LEAST = "<0.01"
_ROUNDING = 1e-9
"""A variance below this share of the mean square is rounding."""


def over_clips(values_n: np.ndarray, minus: np.ndarray | None = None) -> Measured:
    """Mean of a value a clip, or of the paired difference of two."""
    if len(values_n) < 2:
        return _alone(float(values_n[0] - (0 if minus is None else minus[0])))
    found = interval(values_n, minus=minus)
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def of_weights(statistic: Callable[[np.ndarray], float], clips: int) -> Measured:
    """A statistic that isn't a mean over clips, as a function of how often each counts, (n,)."""
    if clips < 2:
        return _alone(statistic(np.ones(clips)))
    found = interval([statistic], clusters=np.arange(clips))
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def percent(found: Measured) -> str:
    """12.3 % (11.0 to 14.1), the estimate alone where there is no interval; below one, two significant digits."""
    low, high = found["low"], found["high"]
    alone = f"{number(found['estimate'] or 0)} %"
    if low is None or high is None:
        return alone
    ends = number(low), number(high)
    return alone if set(ends) == {LEAST} else f"{alone} ({ends[0]} to {ends[1]})"


def number(share: float) -> str:
    """A share in per cent: 12.3, 0.042, <0.01, 0."""
    value = 100 * share
    if 0 < value < 0.01:
        return LEAST
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def variance(values: Sequence[np.ndarray]) -> dict[str, Any]:
    """Where the variance of a parameter, (G, F, S) a clip, comes from; clips weigh alike, and so do patches of a clip.

    The law of total variance, twice. From outside in:

        total = between clips + between the patches of a clip + between the states of a patch

    and against the mean of each subband and state over all clips, which needs no estimating:

        total = fixed + what depends on the sound

    Returns:
        `clips`, `patches` and `states` as shares of the total, `sound` with its interval, and the standard deviation
        `moves` of what depends on the sound, in the parameter's own unit. All shares are zero where nothing varies.
    """
    mean_nFS = np.stack([x.mean(0) for x in values]).astype(np.float64)
    square_n = np.array([np.square(x, dtype=np.float64).mean() for x in values])
    patch_square_n = np.array([np.square(x.mean(-1, dtype=np.float64)).mean() for x in values])
    mean_n = mean_nFS.mean((1, 2))

    def parts(weight_n: np.ndarray) -> tuple[float, float, float, float]:
        w = weight_n / weight_n.sum()
        centre = w @ mean_n
        fixed = np.square(np.tensordot(w, mean_nFS, 1)).mean() - centre**2
        return w @ mean_n**2 - centre**2, w @ (patch_square_n - mean_n**2), w @ (square_n - patch_square_n), fixed

    def sound(weight_n: np.ndarray) -> float:
        *nested, fixed = parts(weight_n)
        total = sum(nested)
        return 1 - fixed / total if total > _ROUNDING * square_n.mean() else 0.0

    *nested, fixed = parts(np.ones(len(values)))
    total = nested[0] + nested[1] + nested[2]
    share = lambda part: max(float(part / total), 0.0) if total > _ROUNDING * square_n.mean() else 0.0
    return {
        **{name: share(part) for name, part in zip(("clips", "patches", "states"), nested, strict=True)},
        "sound": of_weights(sound, len(values)),
        "moves": float(np.sqrt(max(total - fixed, 0.0))),
    }


def saturation(values: Sequence[np.ndarray], bounds: Bounds) -> dict[str, Measured]:
    """Share of states at the lower and at the upper bound."""
    low, high = np.array([[float(side.mean()) for side in saturated(x, bounds)] for x in values]).T
    return {"low": over_clips(low), "high": over_clips(high)}


def distance(values: Sequence[np.ndarray], origin_S: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Mean distance of each clip's parameters from where their states started, as a share of the range, (n,)."""
    return np.array([np.abs(x - origin_S).mean() for x in values]) / (bounds[1] - bounds[0])


def describe(
    now: Sequence[np.ndarray], start: Sequence[np.ndarray], origin_S: np.ndarray, bounds: Bounds
) -> dict[str, Any]:
    """Everything of one parameter: of the trained stem, and of the untrained one on the same clips.

    `origin_S` is where the states were spread at.
    """
    far, far_at_start = distance(now, origin_S, bounds), distance(start, origin_S, bounds)
    share = lambda values: shares(np.concatenate([x.ravel() for x in values]), bounds).tolist()
    return {
        "bounds": list(bounds),
        "shares": {"start": share(start), "now": share(now)},
        "saturation": saturation(now, bounds),
        "saturation at start": saturation(start, bounds),
        "variance": variance(now),
        "variance at start": variance(start),
        "distance": over_clips(far),
        "distance at start": over_clips(far_at_start),
        "moved": over_clips(far, minus=far_at_start),
    }


def untrained(stem: States, seed: int) -> States:
    """The same stem with the first weights of a model of that seed: its stem is made before all else that is random."""
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
    """A copy whose Lambda is the same for every patch of a subband, as a stem's that learns it without estimating."""
    return stem.changed(lambda alpha, beta: (alpha_FS.expand_as(alpha), beta_FS.expand_as(beta)))


def means(values: list[np.ndarray]) -> Tensor:
    """Mean of each subband and state over all patches of all clips, (F, S); clips weigh alike."""
    return torch.from_numpy(np.mean([x.mean(0) for x in values], axis=0))


@torch.no_grad()
def change(stem: States, changed: States, mel_BTM: Tensor) -> dict[str, float]:
    """How much an intervention changes tokens and SBLU outputs, relative to how much they differ between patches.

    Returns:
        `tokens`: root mean square change over the root mean square deviation of tokens from their mean. `features`: the
        same of the SBLU's outputs at unit gain over these themselves, which are 0 without modulation; taking its
        features away leaves its outputs as they are.
    """
    before, after = stem(mel_BTM), changed(mel_BTM)
    ours, theirs = (torch.stack(one.responses(mel_BTM, gain="unit")) for one in (stem, changed))
    ratio = lambda difference, of: float(difference.norm() / of.norm().clamp_min(1e-12))
    return {
        "tokens": ratio(after - before, before - before.mean(1, keepdim=True)),
        "features": ratio(theirs - ours, ours),
    }


def _alone(value: float) -> Measured:
    return {"estimate": value, "low": None, "high": None}
