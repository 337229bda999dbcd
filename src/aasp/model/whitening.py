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

from aasp.casting import widened
from aasp.errors import AaspError


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
        z_BV = (widened(vector_BV) - self.mean) / self.scale
        return z_BV - (z_BV @ self.directions.T) @ self.directions

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
        scale = torch.where(scale > torch.finfo(torch.float32).eps * mean.abs(), scale, 1.0)  # a constant stays one
        z_nV = (x_nV - mean) / scale
        variance, v_VV = torch.linalg.eigh(z_nV.T @ z_nV / (count - 1))
        variance, v_VV = variance.flip(0), v_VV.flip(1)
        level = variance[directions]
        if level <= 1e-9 * variance[0]:
            text = f"vectors of the example clips differ in fewer than {directions + 1} directions"
            raise AaspError(f"whitening: {text}; give more varied sound, or fewer directions")
        share_K = 1 - (level / variance[:directions]).sqrt()
        for buffer, values in (
            (self.mean, mean),
            (self.scale, scale),
            (self.directions, (share_K.clamp(min=0).sqrt() * v_VV[:, :directions]).T),
        ):
            buffer.copy_(values)

    @property
    def gain(self) -> float:
        """The largest factor by which it amplifies an error of one dimension."""
        return float((1 / self.scale).max())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        for name, tensor in before.items():
            moved = self.get_buffer(name)
            if not tensor.is_meta:
                kept = torch.promote_types(moved.dtype, torch.float32)
                setattr(self, name, tensor.to(moved.device, kept))
        return self
