"""Code loss: predict the code, or label, of each hidden patch.

Legend: B clips, V views, m predicted patches, K codes. Source: HuBERT (Hsu et al. 2021), BEATs (Chen et al. 2023).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from aasp.pretrain.losses.valid import Gather, alone, valid_mean


def code_loss(logits_BVmK: Tensor, codes_BVm: Tensor, valid_BVm: Tensor, gather: Gather = alone) -> Tensor:
    """Cross-entropy of the hidden patches' codes, a mean over the valid ones.

    Args:
        logits_BVmK: the predictor's logits, shape (B, V, m, K).
        codes_BVm: the codes of the same patches, shape (B, V, m).
        valid_BVm: which of them are valid, boolean, shape (B, V, m).
        gather: concatenates a tensor over processes; for one process if omitted.
    """
    terms = functional.cross_entropy(logits_BVmK.float().flatten(0, 2), codes_BVm.flatten(), reduction="none")
    return valid_mean(terms, valid_BVm.flatten(), gather)
