"""Bilinear contrastive loss: the first segment of a clip identifies the second one among those of all clips.

Legend: B clips of this process, C of all processes, E embedding width.
Source: COLA (Saeed, Grangier & Zeghidour 2021), equations of the bilinear similarity and of the loss over a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def bilinear_loss(anchor_BE: Tensor, positive_CE: Tensor, weight_EE: Tensor, first: int = 0) -> Tensor:
    """Cross-entropy of each anchor's own positive among all; the mean over processes is the loss of the whole batch.

    Args:
        anchor_BE: embeddings of this process's first segments.
        positive_CE: embeddings of the second segments of all processes' clips.
        weight_EE: W of the similarity a' W p.
        first: index of this process's first clip among them.
    """
    with torch.autocast(anchor_BE.device.type, enabled=False):
        logits_BC = anchor_BE.float() @ weight_EE.float() @ positive_CE.float().T
    own = first + torch.arange(len(anchor_BE), device=anchor_BE.device)
    return functional.cross_entropy(logits_BC, own)
