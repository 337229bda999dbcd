"""Multi-mask contrastive loss: views of one clip under different masks agree.

Legend: B clips of this process, C of all processes, V views, E embedding width.
Source: InfoNCE as in SimCLR, which the paper cites. Several positives: each other view of the clip is a separate
positive, the remaining ones are left out of its denominator, and the terms are averaged (ours).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from aasp.casting import without_autocast


def contrastive_loss(
    embedding_BVE: Tensor, temperature: float, everyone_CVE: Tensor | None = None, first: int = 0
) -> Tensor:
    """InfoNCE of this process's views among those of all clips; the mean over processes is that of the whole batch.

    Args:
        embedding_BVE: projected embeddings of the views, shape (B, V, E).
        temperature: divisor of the cosine similarities.
        everyone_CVE: the embeddings of all processes, shape (C, V, E); only this process's own if omitted.
        first: index of this process's first clip among them.

    Returns:
        The mean over ordered pairs of views of one clip; zero for a single view (no positives) or a single clip (no
        negatives).
    """
    everyone_CVE = embedding_BVE if everyone_CVE is None else everyone_CVE
    clips, views, _ = everyone_CVE.shape
    if views == 1 or clips == 1:
        return embedding_BVE.sum() * 0.0 + 0.0  # not -0.0
    z = functional.normalize(embedding_BVE.float().flatten(0, 1), dim=-1)
    others = z if everyone_CVE is embedding_BVE else functional.normalize(everyone_CVE.float().flatten(0, 1), dim=-1)
    with without_autocast(z):
        logits = z @ others.T / temperature
    clip = torch.arange(clips, device=z.device).repeat_interleave(views)
    own = clip[first * views : first * views + len(z)]
    negatives = torch.logsumexp(logits.masked_fill(own[:, None] == clip, -torch.inf), dim=1)
    row = torch.arange(len(z), device=z.device)
    positives = logits.unflatten(1, (clips, views))[row, own]  # (B * V, V)
    terms = torch.logaddexp(negatives[:, None], positives) - positives
    itself = row[:, None] % views == torch.arange(views, device=z.device)
    return terms.masked_fill(itself, 0.0).sum() / (len(z) * (views - 1))
