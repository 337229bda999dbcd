"""Gaussian loss: tests on random projections whether a batch's embeddings follow a standard normal distribution.

Legend: C clips, E embedding width, S directions, K knots.
Source: LeJEPA (Balestriero & LeCun 2025), sketched isotropic Gaussian regularisation: in random directions, the
statistic of Epps & Pulley compares the empirical characteristic function with exp(-t^2 / 2), weighted by the same, and
is integrated from -5 to 5 by the trapezoid rule.
"""

from __future__ import annotations

import torch
from torch import Tensor

KNOTS = 17
"""Points of the integral, including its ends."""
REACH = 5.0
"""Upper end of the integral; the lower one is -REACH."""


def gaussian_loss(embedding_CE: Tensor, direction_ES: Tensor) -> Tensor:
    """C times the weighted squared distance of the characteristic functions, a mean over directions.

    Args:
        embedding_CE: embeddings of all processes' clips.
        direction_ES: unit vectors.

    Returns:
        A 0-d tensor; its expectation for a standard normal distribution is 1.06 for any batch size.
    """
    with torch.autocast(embedding_CE.device.type, enabled=False):
        projected_CS = embedding_CE.float() @ direction_ES.float()
    t_K = torch.linspace(-REACH, REACH, KNOTS, device=embedding_CE.device)
    normal_K = torch.exp(-0.5 * t_K.square())
    angle_CSK = projected_CS[..., None] * t_K
    distance_SK = (angle_CSK.cos().mean(0) - normal_K).square() + angle_CSK.sin().mean(0).square()
    weighted_SK = distance_SK * normal_K
    integral_S = (weighted_SK[:, 1:] + weighted_SK[:, :-1]).sum(1) * (REACH / (KNOTS - 1))
    return len(embedding_CE) * integral_S.mean()
