"""Source retention loss: hidden patches of a mixture predict the mean of the teacher's targets for its sources.

Legend: B clips, 2B clips and their mixtures, V views, N patches, m predicted patches, D width.
Source: SSLAM (Alex et al. 2025); here a mean over patches and channels.
"""

from __future__ import annotations

from torch import Tensor

from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.valid import Gather, alone
from aasp.pretrain.masking import Masks
from aasp.pretrain.mixtures import mean_of_sources
from aasp.stems.contract import gather_patches


def retention_loss(
    predicted_2BVmD: Tensor,
    own_BND: Tensor,
    partner_BND: Tensor,
    mixed_BN: Tensor,
    masks: Masks,
    gather: Gather = alone,
) -> Tensor:
    """Mean squared error over valid predicted patches of the mixtures and channels.

    Args:
        predicted_2BVmD: the predictor's output for clips and mixtures, shape (2B, V, m, D).
        own_BND: the teacher's targets for the clips.
        partner_BND: those for the partner of each clip, from its mixed patches alone (see `mixed_parts`).
        mixed_BN: which patches of the clips are mixed, shape (B, N).
        masks: of clips and mixtures.
        gather: concatenates a tensor over processes; for one process if omitted.
    """
    count = len(mixed_BN)
    hidden, valid = masks.hidden[count:], masks.hidden_valid[count:]
    mean_BND = mean_of_sources(own_BND, partner_BND, mixed_BN)
    return frame_loss(predicted_2BVmD[count:], gather_patches(mean_BND, hidden), valid, gather)
