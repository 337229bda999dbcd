"""What estimating pays in a stem as it stands: its parameters shuffled, averaged, shared, or its features taken away.

Legend: B clips, G x F grid of patches, S states. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aasp.stems.aape import AaPE
from aasp.stems.sblu import bilateral_laplace

How = Literal["shuffled", "mean", "off"]


def intervene(stem: AaPE, how: How) -> AaPE:
    """A copy with Lambda "shuffled" over the patches of a clip, its "mean" over them, or the SBLU's features "off"."""
    if how == "off":
        silent = deepcopy(stem)
        with torch.no_grad():
            silent.norm.weight.zero_()
            silent.norm.bias.zero_()
        return silent

    def changed(value: Tensor) -> Tensor:
        patches = value.flatten(1, 2)
        if how == "mean":
            patches = patches.mean(1, keepdim=True).expand_as(patches)
        else:
            patches = patches[:, torch.randperm(patches.shape[1], generator=torch.Generator().manual_seed(0))]
        return patches.unflatten(1, value.shape[1:3])

    return _with(stem, lambda alpha, beta: (changed(alpha), changed(beta)))


def share(stem: AaPE, alpha_FS: Tensor, beta_FS: Tensor) -> AaPE:
    """A copy whose Lambda is the same for every patch of a subband, as a stem's that learns it without estimating."""
    return _with(stem, lambda alpha, beta: (alpha_FS.expand_as(alpha), beta_FS.expand_as(beta)))


@torch.no_grad()
def change(stem: AaPE, changed: AaPE, mel_BTM: Tensor) -> dict[str, float]:
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
    ours, theirs = (_outputs(one, mel_BTM) for one in (stem, changed))
    ratio = lambda difference, of: float(difference.norm() / of.norm().clamp_min(1e-12))
    return {
        "tokens": ratio(after - before, before - before.mean(1, keepdim=True)),
        "features": ratio(theirs - ours, ours),
    }


def means(values: list[np.ndarray]) -> Tensor:
    """Mean of each subband and state over all patches of all clips, (F, S); clips weigh alike."""
    return torch.from_numpy(np.mean([x.mean(0) for x in values], axis=0))


def _with(stem: AaPE, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> AaPE:
    other = deepcopy(stem)
    other.parameters_of = lambda patches: change(*stem.parameters_of(patches))  # type: ignore[method-assign]
    return other


def _outputs(stem: AaPE, mel_BTM: Tensor) -> Tensor:
    c, patches = stem.config, stem.cut(mel_BTM)
    options = {"phase": c.phase, "window": c.window}
    both = bilateral_laplace(stem.windows(patches), *stem.parameters_of(patches), gain="unit", **options)  # type: ignore[arg-type]
    return torch.stack(both)
