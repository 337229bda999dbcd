"""Statistics of estimated parameters: what varies with what, how far they are from their start, how many are stuck.

Legend: n clips; of each an array (G, F, S): time patches, subbands, states. Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from aasp.aliasing.kernels.uncertain import Measured, of_weights, over_clips
from aasp.report.rates import shares
from aasp.stems.lambda_encoder import saturated
from aasp.stems.states import States

Bounds = tuple[float, float]


def variance(values: Sequence[np.ndarray]) -> dict[str, Any]:
    """Where the variance of a parameter comes from; clips weigh alike, and so do the patches of a clip.

    The law of total variance, twice. From outside in:

        total = between clips + between the patches of a clip + between the states of a patch

    and against the mean of each subband and state over all clips, which needs no estimating:

        total = fixed + what depends on the sound

    Args:
        values: one array a clip, (G, F, S), of the same subbands and states.

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
        clips = w @ mean_n**2 - centre**2
        patches = w @ (patch_square_n - mean_n**2)
        states = w @ (square_n - patch_square_n)
        fixed = np.square(np.tensordot(w, mean_nFS, 1)).mean() - centre**2
        return clips, patches, states, fixed

    def sound(weight_n: np.ndarray) -> float:
        *nested, fixed = parts(weight_n)
        total = sum(nested)
        return 1 - fixed / total if total > _ROUNDING * square_n.mean() else 0.0

    clips, patches, states, fixed = parts(np.ones(len(values)))
    total = clips + patches + states
    share = lambda part: max(float(part / total), 0.0) if total > _ROUNDING * square_n.mean() else 0.0
    return {
        "clips": share(clips),
        "patches": share(patches),
        "states": share(states),
        "sound": of_weights(sound, len(values)),
        "moves": float(np.sqrt(max(total - fixed, 0.0))),
    }


def saturation(values: Sequence[np.ndarray], bounds: Bounds) -> dict[str, Measured]:
    """Share of states at the lower and at the upper bound."""
    at = [[float(side.mean()) for side in saturated(x, bounds)] for x in values]
    low, high = np.array(at).T
    return {"low": over_clips(low), "high": over_clips(high)}


def distance(values: Sequence[np.ndarray], origin_S: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Mean distance of each clip's parameters from where their states started, as a share of the range, (n,)."""
    return np.array([np.abs(x - origin_S).mean() for x in values]) / (bounds[1] - bounds[0])


def starts(stem: States) -> tuple[np.ndarray, np.ndarray]:
    """Decay per frame and frequency in radians per frame that the states of a new stem are spread at, each (S,)."""
    alpha, beta = stem.start()
    return alpha.numpy(), beta.numpy()


def untrained(stem: States, seed: int) -> States:
    """The same stem with the weights that a model begins with which is made from this seed.

    An `AudioEncoder` makes its stem before anything else that is random.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return stem.untrained().eval()


def describe(
    now: Sequence[np.ndarray], start: Sequence[np.ndarray], origin_S: np.ndarray, bounds: Bounds
) -> dict[str, Any]:
    """All that is told of one parameter.

    Args:
        now: of the trained stem, one array a clip.
        start: of the untrained stem, on the same clips.
        origin_S: where the states were spread at.
        bounds: of the parameter.
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


_ROUNDING = 1e-9
"""A variance below this share of the mean square is rounding."""
