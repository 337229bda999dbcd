"""Patch loss: distinguish a hidden patch from the other hidden patches of its view.

Legend: B clips, V views, m hidden patches, P values of a patch.
Source: SSAST (Gong et al. 2022), eq. 1, after wav2vec 2.0's contrastive loss; MAE-AST uses the same. Patches and
predictions are compared without normalisation or temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.pretrain.losses.valid import Gather, alone, valid_mean


@dataclass(frozen=True)
class PatchLossesConfig:
    """Weights of the losses of hidden patches.

    Attributes:
        generative: weight of the squared error, a mean over hidden patches and their values.
        discriminative: weight of the InfoNCE loss that distinguishes a hidden patch from the others of its view.
    """

    generative: float = 1.0
    discriminative: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, "losses", "generative discriminative", least=0)
        if not self.generative + self.discriminative:
            raise AaspError("losses: generative and discriminative are both 0, nothing would be learned; raise one")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss by name."""
        return {"generative": self.generative, "discriminative": self.discriminative}


def discriminative_loss(
    predicted_BVmP: Tensor, patch_BVmP: Tensor, valid_BVm: Tensor, gather: Gather = alone
) -> Tensor:
    """InfoNCE: the logits of a prediction are its dot products with the view's hidden patches; the target is its own.

    Args:
        predicted_BVmP: predictions of the hidden patches, shape (B, V, m, P).
        patch_BVmP: the patches, of the same shape.
        valid_BVm: which of them are valid, boolean, shape (B, V, m).
        gather: concatenates a tensor over processes; for one process if omitted.

    Returns:
        The mean over valid patches; the term of a view with a single hidden patch is zero.
    """
    with torch.autocast(predicted_BVmP.device.type, enabled=False):  # sums over a patch's values
        logits_BVmm = predicted_BVmP.float() @ patch_BVmP.float().mT
    # An invalid patch keeps its own column: its row has no weight below, but must not be NaN.
    itself = torch.eye(logits_BVmm.shape[-1], dtype=torch.bool, device=logits_BVmm.device)
    logits_BVmm = logits_BVmm.masked_fill(~(valid_BVm[..., None, :] | itself), -torch.inf)
    terms_BVm = -functional.log_softmax(logits_BVmm, dim=-1).diagonal(dim1=-2, dim2=-1)
    return valid_mean(terms_BVm, valid_BVm, gather)
