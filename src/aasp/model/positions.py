"""Positions of tokens on a grid, and position embeddings: fixed 2-D sine-cosine for a grid of any length, a learned
table, or a convolution over the tokens.

Legend: B sequences, G time patches x F subbands, N = G * F in time-major order, n tokens of a sequence, D width.
Source: MAE and EAT; half of the channels encode time, the other half the subband. The convolution is wav2vec 2.0's,
also used by BEATs (Chen et al. 2023); ours: its weights are not normalised, and hidden patches of a view are zeros.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.errors import AaspError
from aasp.tracing import is_known


class Places(NamedTuple):
    """The positions of the tokens of B sequences on a grid of patches.

    Attributes:
        grid: time patches and subbands (G, F).
        index_Bn: patch indices g * F + f of each sequence, shape (B, n); all N in order if omitted.
    """

    grid: tuple[int, int]
    index_Bn: Tensor | None = None

    def coordinates(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Time patch and subband of each token, int64, shape (N,) or (B, n)."""
        index = self.index_Bn
        if index is None:
            index = torch.arange(self.grid[0] * self.grid[1], device=device)
        return index.div(self.grid[1], rounding_mode="floor"), index % self.grid[1]


def positions(places: Places, width: int, device: torch.device | None = None) -> Tensor:
    """Sine-cosine position embeddings of tokens, shape (N, D) or (B, n, D), fp32."""
    of_grid = sincos_positions(places.grid, width, device)
    return of_grid if places.index_Bn is None else of_grid[places.index_Bn]


def of_table(table_GFD: Tensor, places: Places) -> Tensor:
    """Position embeddings of tokens from a table, shape (N, D) or (B, n, D); shorter grids use its first rows.

    Raises:
        AaspError: the grid is longer than the table, or has another number of subbands.
    """
    columns, subbands = places.grid
    most, bands, _ = table_GFD.shape
    if subbands != bands or (is_known(columns) and columns > most):
        text = f"a grid of {columns} time patches x {subbands} subbands, and learned positions for {most} x {bands}"
        raise AaspError(f"encoder: {text}; give shorter windows, or build the encoder for this grid")
    of_grid = table_GFD[:columns].flatten(0, 1)
    return of_grid if places.index_Bn is None else of_grid[places.index_Bn]


def sincos_positions(grid: tuple[int, int], width: int, device: torch.device | None = None) -> Tensor:
    """Sine-cosine position embeddings, shape (N, D), fp32.

    Args:
        grid: (G, F).
        width: D, a multiple of 4.
        device: their device.
    """
    times = torch.arange(grid[0], dtype=torch.float32, device=device)
    subbands = torch.arange(grid[1], dtype=torch.float32, device=device)
    axes = _axis(times, width // 2)[:, None], _axis(subbands, width // 2)[None]
    return torch.cat([axis.expand(*grid, -1) for axis in axes], dim=-1).flatten(0, 1)


def _axis(position: Tensor, width: int) -> Tensor:
    frequency = 10_000.0 ** (-torch.arange(width // 2, dtype=torch.float32, device=position.device) * 2 / width)
    angle = position[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class PositionConvolution(nn.Module):
    """Position embeddings from the neighbours of each token: a grouped 1-D convolution in time-major order, and a GELU.

    Args:
        width: token width D.
        kernel: kernel size in tokens; an even one covers one token more before a token than after it.
        groups: groups of channels, a divisor of the width.
    """

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.after = (kernel - 1) // 2
        self.convolution = nn.Conv1d(width, width, kernel, groups=groups)
        nn.init.normal_(self.convolution.weight, std=2 / (kernel * width) ** 0.5)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, tokens_BND: Tensor, places: Places, valid_BN: Tensor | None = None) -> Tensor:
        """Position embeddings (B, N, D) of tokens (B, N, D); invalid tokens count as zeros."""
        if valid_BN is not None:
            tokens_BND = tokens_BND * valid_BN[..., None].to(tokens_BND.dtype)
        index = None if places.index_Bn is None else places.index_Bn[..., None].expand_as(tokens_BND)
        if index is not None:
            row = tokens_BND.new_zeros(len(tokens_BND), places.grid[0] * places.grid[1], tokens_BND.shape[-1])
            tokens_BND = row.scatter(1, index, tokens_BND)
        padded = functional.pad(tokens_BND.mT, (self.convolution.kernel_size[0] - 1 - self.after, self.after))
        found = functional.gelu(self.convolution(padded)).mT
        return found if index is None else found.gather(1, index)
