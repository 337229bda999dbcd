"""K-means codes of patches: for a hidden patch, the index of its nearest centre is predicted.

    c(x) = argmin_k ‖x − μ_k‖²
    n_k ← d n_k + (1 − d) |{x : c(x) = k}|,   s_k ← d s_k + (1 − d) Σ {x : c(x) = k},   μ_k = s_k / n_k

Legend: B clips, N patches, n vectors of P values, K codes.
Source: HuBERT (Hsu et al. 2021) predicts k-means codes of hidden frames by cross-entropy; k-means by moving averages as
in VQ-VAE (van den Oord et al. 2017, appendix A.1) and DinoSR (Liu et al. 2023), so that no initial pass over the data
is needed. Unused codes restart at a patch of the batch, as in Jukebox (Dhariwal et al. 2020).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from aasp.casting import without_autocast
from aasp.config import check_range
from aasp.parts import Parts
from aasp.pretrain.encoding import Clips
from aasp.pretrain.losses.valid import Gather
from aasp.stems.contract import Stem

UNUSED = 0.02  # vectors per step, below which a code restarts
CHUNK = 8192


class CodebookConfig(ABC):
    """Base class of the configuration of a codebook, a frozen dataclass.

    Attributes:
        count: number of codes K, which are additional outputs of the predictor.
        weight: weight of the cross-entropy of codes.
    """

    count = 0
    weight = 0.0

    @abstractmethod
    def build(self, values: int) -> Codebook | None:
        """The codebook for patches of `values` values; None for no codebook."""


@dataclass(frozen=True)
class NoCodebookConfig(CodebookConfig):
    """No prediction of codes.

    Attributes:
        kind: the name in recipes; JSON files omit it, because it was once the only choice.
    """

    kind: ClassVar[str] = "none"

    def build(self, values: int) -> Codebook | None:
        return None


@dataclass(frozen=True)
class KMeansConfig(CodebookConfig):
    """Prediction of the k-means codes of hidden log-mel patches.

    Attributes:
        kind: the name of this codebook in recipes.
        count: number of codes K.
        weight: weight of the cross-entropy.
        decay: decay d of the moving averages.
    """

    kind: Literal["kmeans"] = "kmeans"
    count: int = 512
    weight: float = 1.0
    decay: float = 0.98

    def __post_init__(self) -> None:
        check_range(self, "codebook", "count", least=2)
        check_range(self, "codebook", "weight")
        check_range(self, "codebook", "decay", least=0, below=1)

    def build(self, values: int) -> Codebook | None:
        return Codebook(self.count, values, self.decay)


class Codebook(nn.Module):
    """Online k-means; its state is part of the module's state dict.

    Args:
        count: number of codes K.
        values: values per vector, P.
        decay: decay d.
    """

    centres: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, count: int, values: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("centres", torch.zeros(count, values))
        self.register_buffer("sums", torch.zeros(count, values))
        self.register_buffer("counts", torch.zeros(count))

    @torch.no_grad()
    def forward(self, vectors: Tensor) -> Tensor:
        """The code of each vector: (..., P) to (...). In bf16, a third would have another one."""
        rows = vectors.flatten(0, -2).to(self.centres.dtype)
        with without_autocast(rows):
            nearest = [self.nearest(part) for part in rows.split(CHUNK)]
        return torch.cat(nearest).unflatten(0, vectors.shape[:-1])

    def nearest(self, rows: Tensor) -> Tensor:
        """The code of each row, (n, P) to (n,)."""
        return (0.5 * self.centres.square().sum(1) - rows @ self.centres.T).argmin(1)

    @torch.no_grad()
    def learn(self, vectors: Tensor, weights: Tensor, gather: Gather) -> None:
        """Update the centres with a batch's vectors of all processes; nothing waits for the device.

        The centres start at vectors drawn at random from the first batch of the first process.

        Args:
            vectors: vectors of a batch, shape (n, P).
            weights: 1 for valid vectors, else 0, shape (n,).
            gather: see `aasp.pretrain.methods.contract.Gather`.
        """
        vectors, weights = vectors.to(self.centres.dtype), weights.to(self.centres.dtype)
        drawn = vectors[torch.multinomial(weights, len(self.counts), replacement=True)]
        drawn = gather(drawn[None])[0][0]  # the same in every process
        self._begin((self.counts.sum() == 0).expand_as(self.counts), drawn)
        codes = self(vectors)
        hits = torch.zeros_like(self.counts).index_add_(0, codes, weights)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, vectors * weights[:, None])
        moved = gather(torch.cat([sums, hits[:, None]], dim=1)[None])[0].sum(0)
        self.sums.lerp_(moved[:, :-1], 1 - self.decay)
        self.counts.lerp_(moved[:, -1], 1 - self.decay)
        self.centres.copy_(self.sums / self.counts.clamp_min(1e-6)[:, None])
        self._begin(self.counts < UNUSED, drawn)

    def _begin(self, which_K: Tensor, vectors: Tensor) -> None:
        """Restart some codes at vectors (K, P), with the count of one vector per step."""
        begins = which_K[:, None]
        self.centres.copy_(torch.where(begins, vectors, self.centres))
        self.sums.copy_(torch.where(begins, vectors, self.sums))
        self.counts.masked_fill_(which_K, 1.0)

    def perplexity(self) -> Tensor:
        """The effective number of codes: the exponential of the entropy of their frequencies, a 0-d tensor."""
        share = self.counts / self.counts.sum().clamp_min(1e-12)
        return torch.exp(-(share * share.clamp_min(1e-12).log()).sum())


CODEBOOKS: Parts[CodebookConfig] = Parts(
    "codebook",
    CodebookConfig,  # type: ignore[type-abstract]
    {"none": "aasp.pretrain.codebook:NoCodebookConfig", "kmeans": "aasp.pretrain.codebook:KMeansConfig"},
    unnamed="none",
)


def patch_codes(codebook: Codebook, stem: Stem, clips: Clips, gather: Gather, learn: bool) -> Tensor:
    """The code of every log-mel patch, its level included, (B, N); with `learn`, valid patches update the codebook."""
    patches_BNP = stem.cut(clips.mel).flatten(1, 2).flatten(2)
    if learn:
        weights_BN = patches_BNP.new_ones(patches_BNP.shape[:2]) if clips.valid is None else clips.valid
        codebook.learn(patches_BNP.flatten(0, 1), weights_BN.flatten(), gather)
    return codebook(patches_BNP)
