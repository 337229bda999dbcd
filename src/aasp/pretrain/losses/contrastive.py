"""Multi-mask contrastive loss: views of one clip under different masks agree.

Legend: B clips of this process, C of all processes, V views, E embedding width.
Source: InfoNCE as in SimCLR, which the paper cites. Several positives: each view of the clip is a positive of its own,
the others are left out of its denominator, and the terms are averaged (ours).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(
    embedding_BVE: Tensor, temperature: float, everyone_CVE: Tensor | None = None, first: int = 0
) -> Tensor:
    """InfoNCE of this process's views among those of all clips; its mean over processes is that of the whole batch.

    Args:
        embedding_BVE: projected class tokens, shape (B, V, E).
        temperature: divisor of the cosine similarities.
        everyone_CVE: those of all processes, shape (C, V, E); this process's own are all there are if omitted.
        first: where among them this process's own clips begin.

    Returns:
        The mean over ordered pairs of views of one clip; zero for a single view or a single clip, which have nothing
        to agree with or to differ from.
    """
    everyone_CVE = embedding_BVE if everyone_CVE is None else everyone_CVE
    clips, views, _ = everyone_CVE.shape
    if views == 1 or clips == 1:
        return embedding_BVE.sum() * 0.0 + 0.0  # not -0.0
    z = functional.normalize(embedding_BVE.float().flatten(0, 1), dim=-1)
    others = z if everyone_CVE is embedding_BVE else functional.normalize(everyone_CVE.float().flatten(0, 1), dim=-1)
    with torch.autocast(z.device.type, enabled=False):
        logits = z @ others.T / temperature
    clip = torch.arange(clips, device=z.device).repeat_interleave(views)
    own = clip[first * views : first * views + len(z)]
    negatives = torch.logsumexp(logits.masked_fill(own[:, None] == clip, -torch.inf), dim=1)
    positives = logits.unflatten(1, (clips, views))[torch.arange(len(z)), own]  # (B * V, V)
    terms = torch.logaddexp(negatives[:, None], positives) - positives
    itself = torch.arange(len(z), device=z.device)[:, None] % views == torch.arange(views, device=z.device)
    return terms.masked_fill(itself, 0.0).sum() / (len(z) * (views - 1))
