"""Multi-mask contrastive loss: views of one clip under different masks agree.

Legend: B clips (of all processes), V views, E embedding width.
Source: InfoNCE as in SimCLR, which the paper cites. Several positives: each view of the clip is a positive of its own,
the others are left out of its denominator, and the terms are averaged (ours).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(embedding_BVE: Tensor, temperature: float) -> Tensor:
    """InfoNCE over the views of all clips.

    Args:
        embedding_BVE: projected class tokens, shape (B, V, E); already gathered over processes.
        temperature: divisor of the cosine similarities.

    Returns:
        The mean over ordered pairs of views of one clip; zero for a single view or a single clip, which have nothing
        to agree with or to differ from.
    """
    clips, views, _ = embedding_BVE.shape
    if views == 1 or clips == 1:
        return embedding_BVE.sum() * 0.0
    z = functional.normalize(embedding_BVE.float().flatten(0, 1), dim=-1)
    with torch.autocast(z.device.type, enabled=False):
        logits = z @ z.T / temperature
    clip = torch.arange(clips, device=z.device).repeat_interleave(views)
    same = clip[:, None] == clip
    negatives = torch.logsumexp(logits.masked_fill(same, -torch.inf), dim=1)
    positives = logits.unflatten(1, (clips, views))[torch.arange(len(z)), clip]  # (B * V, V)
    terms = torch.logaddexp(negatives[:, None], positives) - positives
    itself = torch.arange(len(z), device=z.device)[:, None] % views == torch.arange(views, device=z.device)
    return terms.masked_fill(itself, 0.0).sum() / (len(z) * (views - 1))
