"""Health diagnostics of a run: detection of collapse to constant outputs.

Legend: B clips, V views, N patches, m predicted patches, D width.
Source: ours; the embedding rank is the participation ratio of the covariance's eigenvalues.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

MIN_TARGET_DEVIATION = 1e-3
MIN_RANK = 1.02
MIN_CLIPS = 8  # with fewer, the rank depends on the clips more than on the model


@torch.no_grad()
def embedding_health(predicted_BVmD: Tensor, target_BND: Tensor, cls_BVD: Tensor) -> dict[str, Tensor]:
    """Variance of targets and predictions over tokens, and the rank of the class tokens."""
    centred = cls_BVD.detach().float().flatten(0, 1)
    centred = centred - centred.mean(0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    return {
        "target_variance": target_BND.flatten(0, 1).var(0).mean(),
        "prediction_variance": predicted_BVmD.detach().float().flatten(0, 2).var(0).mean(),
        "embedding_rank": gram.trace().square() / gram.square().sum().clamp_min(1e-12),
    }


def collapse(metrics: Mapping[str, float], clips: int) -> str | None:
    """A description of a collapse, for batches of `clips`; None if there is none."""
    deviation = metrics.get("summary_deviation")  # missing for a single clip
    if deviation is not None and deviation < MIN_TARGET_DEVIATION:
        return f"the teacher's targets are the same for every clip (deviation {deviation:.1e})"
    variance = metrics.get("target_variance")
    if variance is not None and variance < MIN_TARGET_DEVIATION**2:
        return f"the teacher's targets are the same for every patch (variance {variance:.1e})"
    if clips >= MIN_CLIPS and metrics["embedding_rank"] < MIN_RANK:
        return f"all embeddings lie on a line (rank {metrics['embedding_rank']:.2f})"
    return None
