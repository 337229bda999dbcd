"""Partial whitening of clip vectors: the few directions that dominate all distances are scaled down.

    z = (x - mean) / scale                          every dimension has variance 1
    y = z - (z Bᵀ) B,   B_k = √(1 - √(λ_{K+1} / λ_k)) v_k

λ, v: eigenvalues and eigenvectors of the covariance of z over example clips, largest first. Along v_1 … v_K, y has the
variance λ_{K+1} of the next direction; all others are unchanged, so that no dimension is lost and noise is not
amplified, as it is by whitening all of them. K x V numbers are stored.

Legend: n example clips, V dimensions of a vector, K directions.
Source: whitening of embeddings as in Su et al. 2021; to leave the smaller directions unchanged is ours, after Mu &
Viswanath 2018, who remove the largest ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import widened, without_autocast
from aasp.errors import AaspError

CONSTANT = 1e-5
"""A number whose deviation is below this share of its mean, or of the median deviation, is only centred."""


class Whitening(nn.Module):
    """An affine map of vectors whose tensors are buffers of the model, not trained; initially the identity.

    They keep their precision, at least fp32, when the model is cast: rounding them would rotate all vectors.

    Args:
        width: dimensions V of a vector.
        directions: directions K that are scaled down.

    Raises:
        AaspError: there are not more dimensions than directions.
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor

    def __init__(self, width: int, directions: int) -> None:
        super().__init__()
        if directions >= width:
            raise AaspError(f"whitened is {directions}; the vector has {width} numbers, so give at most {width - 1}")
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("directions", torch.zeros(directions, width))

    def forward(self, vector_BV: Tensor) -> Tensor:
        with without_autocast(vector_BV):
            z_BV = (widened(vector_BV) - widened(self.mean)) / widened(self.scale)
            b_KV = widened(self.directions)
            return z_BV - (z_BV @ b_KV.T) @ b_KV

    @torch.no_grad()
    def fit(self, vector_nV: Tensor) -> None:
        """Learn the map from vectors of example clips, shape (n, V), without labels.

        Raises:
            AaspError: they differ in too few directions, or are not all finite.
        """
        x_nV = vector_nV.double()
        if not x_nV.isfinite().all():
            raise AaspError("whitening: vectors of example clips are not all finite; leave those clips out")
        count, directions = len(x_nV), len(self.directions)
        if count < directions + 2:
            text = f"{count} example clips for {directions} directions; give at least {directions + 2}"
            raise AaspError(f"whitening: {text}, or fewer directions")
        mean, scale = x_nV.mean(0), x_nV.std(0)
        constant = scale <= CONSTANT * torch.maximum(mean.abs(), scale.median())
        scale = torch.where(constant, 1.0, scale)
        z_nV = (x_nV - mean) / scale
        variance, v_KV = _principal(z_nV, directions + 1)
        if variance[-1] <= 1e-9 * variance[0]:
            text = f"vectors of the example clips differ in fewer than {directions + 1} directions"
            raise AaspError(f"whitening: {text}; give more varied sound, or fewer directions")
        share_K = 1 - (variance[-1] / variance[:-1]).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.directions.copy_(share_K.clamp(min=0).sqrt()[:, None] * v_KV[:-1])

    @property
    def gains(self) -> Tensor:
        """For each number of its output, the factor by which independent errors of its input grow, shape (V,)."""
        b_KV = self.directions.double()
        unit_VV = torch.eye(b_KV.shape[1], dtype=b_KV.dtype, device=b_KV.device)
        return ((unit_VV - b_KV.T @ b_KV) / self.scale).norm(dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        for name, tensor in before.items():
            moved = self.get_buffer(name)
            if not tensor.is_meta:
                kept = torch.promote_types(moved.dtype, torch.float32)
                setattr(self, name, tensor.to(moved.device, kept))
        return self


def _principal(z_nV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest variances of centred vectors, shape (count,), and their directions, shape (count, V)."""
    clips, width = z_nV.shape
    few = clips < width  # then the products of clips have the same eigenvalues and are the smaller matrix
    variance, axes = torch.linalg.eigh((z_nV @ z_nV.T if few else z_nV.T @ z_nV) / (clips - 1))
    variance, axes = variance.flip(0)[:count], axes.flip(1)[:, :count]
    return variance, functional.normalize(axes.T @ z_nV if few else axes.T, dim=1)
