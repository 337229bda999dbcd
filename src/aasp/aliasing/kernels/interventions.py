"""What estimating pays in a stem as it stands: its parameters shuffled, averaged, shared, or its features taken away.

Legend: B clips, G x F grid of patches, S states. Source: ours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aasp.stems.states import States

How = Literal["shuffled", "mean", "off"]


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


@torch.no_grad()
def change(stem: States, changed: States, mel_BTM: Tensor) -> dict[str, float]:
    """How much an intervention changes tokens and SBLU outputs, relative to how much they differ between patches.

    Args:
        stem: as it is.
        changed: with the intervention.
        mel_BTM: the clips.

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


def means(values: list[np.ndarray]) -> Tensor:
    """Mean of each subband and state over all patches of all clips, (F, S); clips weigh alike."""
    return torch.from_numpy(np.mean([x.mean(0) for x in values], axis=0))
