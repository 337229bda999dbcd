"""The health of a stem in training: do its parameters move, and do gradients reach them?

Legend: B clips, T frames, M mel bins. Source: ours.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from aasp.stems.aape import AaPE
from aasp.stems.contract import Stem
from aasp.stems.lambda_encoder import ALPHA_RANGE, beta_range

Values = TypeVar("Values", Tensor, np.ndarray)
BOUND = 0.02
"""Nearer to a bound than this share of the range, a parameter counts as saturated."""


def saturated(value: Values, bounds: tuple[float, float]) -> tuple[Values, Values]:
    """Which values (an array or a tensor) lie at the lower bound, and which at the upper one: boolean, as shaped."""
    low, high = bounds
    margin = BOUND * (high - low)
    return value < low + margin, value > high - margin


@torch.no_grad()
def stem_health(stem: Stem, mel_BTM: Tensor) -> dict[str, Tensor]:
    """Mean, spread and saturation (share at a bound) of alpha and beta, and the window mass cut off."""
    if not isinstance(stem, AaPE):
        return {}
    alpha, beta = stem.estimate(mel_BTM[:8])
    measures = {"window_cut": torch.exp(-alpha * stem.config.taps / 2).mean()}
    for name, value, bounds in (("alpha", alpha, ALPHA_RANGE), ("beta", beta, beta_range(stem.patch[0]))):
        low, high = saturated(value, bounds)
        measures |= {
            f"{name}_mean": value.mean(),
            f"{name}_spread": value.flatten(0, 2).std(0).mean(),
            f"{name}_saturation": (low | high).float().mean(),
        }
    return measures


def stem_gradients(stem: Stem) -> dict[str, Tensor]:
    """Gradient norm of the part of the stem that is not the convolution."""
    gradients = [p.grad for n, p in stem.named_parameters() if p.grad is not None and not n.startswith("project.")]
    return {"sblu_gradient_norm": torch.stack(torch._foreach_norm(gradients)).norm()} if gradients else {}
