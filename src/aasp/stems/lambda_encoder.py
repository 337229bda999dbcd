"""The Lambda Encoder: a shallow transformer inside each patch that estimates decay, frequency and, optionally, chirp.

Legend: Q patches, P frames x R mel bins of a patch, L tokens in a patch, W width, S states.
Source: the paper names a "shallow Transformer" that estimates per-patch parameters; its architecture is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import without_autocast
from aasp.errors import AaspError

ALPHA_RANGE = (0.02, 1.0)
"""Bounds of the decay per frame: windows of 50 frames and of one frame (ours)."""
ALPHA_START = 0.2
LOGIT_DEVIATION = 0.02
AT_BOUND = 0.02
"""A parameter within this share of the range from a bound counts as saturated."""
Values = TypeVar("Values", Tensor, np.ndarray)


def beta_range(stride: int) -> tuple[float, float]:
    """The alias-prone band in radians per frame: from the Nyquist frequency of the patches to that of the frames."""
    return math.pi / stride, math.pi


def start_logits(states: int, stride: int, alpha_range: tuple[float, float] = ALPHA_RANGE) -> Tensor:
    """Logits, shape (2, S), for decays of ALPHA_START and frequencies spread log-uniformly over the band."""
    low, high = beta_range(stride)
    share = (torch.arange(states, dtype=torch.float64) + 0.5) / states
    beta = low * (high / low) ** share
    alpha = torch.full_like(beta, ALPHA_START)
    least, most = alpha_range
    position = torch.stack([(alpha - least) / (most - least), (beta - low) / (high - low)])
    return torch.logit(position).float()


def alpha_and_beta(
    logits: Tensor, stride: int, alpha_range: tuple[float, float] = ALPHA_RANGE
) -> tuple[Tensor, Tensor]:
    """Logits (..., 2, S) to alpha per frame and beta in radians per frame, each (..., S), in fp32 (or float64)."""
    share = torch.sigmoid(logits if logits.dtype == torch.float64 else logits.float())
    low, high = beta_range(stride)
    alpha = alpha_range[0] + (alpha_range[1] - alpha_range[0]) * share[..., 0, :]
    return alpha, low + (high - low) * share[..., 1, :]


def check_settings(
    frames: int, frames_per_token: int, width: int, heads: int, alpha_range: tuple[float, float]
) -> None:
    """Check that the Lambda Encoder's sizes divide each other and the patch, and that decays start within bounds.

    Raises:
        AaspError: one of them does not.
    """
    if frames % frames_per_token:
        raise AaspError(f"stem: frames_per_token {frames_per_token} must divide the patch's {frames} frames")
    if width % heads:
        raise AaspError(f"stem: encoder_heads {heads} must divide encoder_width {width}")
    low, high = alpha_range
    if not low < ALPHA_START < high:
        text = f"alpha_range is {low:g},{high:g}, and decays begin at {ALPHA_START:g}"
        raise AaspError(f"stem: {text}; give a range around that")


def gamma_range(stride: int) -> tuple[float, float]:
    """Chirp rates in radians per frame squared: at a bound, the frequency crosses the alias-prone band in a patch."""
    return -math.pi / stride, math.pi / stride


def chirped(logits: Tensor, stride: int) -> Tensor:
    """Logits (..., S) to chirp rates, zero for zero, in fp32 (or float64)."""
    return gamma_range(stride)[1] * torch.tanh(logits if logits.dtype == torch.float64 else logits.float())


def saturated(value: Values, bounds: tuple[float, float]) -> tuple[Values, Values]:
    """Which values (an array or a tensor) are at the lower and which at the upper bound: boolean, of the same shape."""
    low, high = bounds
    margin = AT_BOUND * (high - low)
    return value < low + margin, value > high - margin


def health(values: Sequence[Tensor], bounds: Sequence[tuple[float, float]]) -> dict[str, Tensor]:
    """Mean, spread over patches and share at a bound of alpha, beta and, if given, gamma, each (B, G, F, S)."""
    measures = dict[str, Tensor]()
    for name, value, range_ in zip(("alpha", "beta", "gamma"), values, bounds, strict=False):
        low, high = saturated(value, range_)
        measures |= {
            f"{name}_mean": value.mean(),
            f"{name}_spread": value.flatten(0, 2).std(0).mean(),
            f"{name}_saturation": (low | high).float().mean(),
        }
    return measures


def as_blocks(patches: Tensor, shared: tuple[int, int]) -> Tensor:
    """Patches (B, G, F, P, R) as blocks of r x c, (B, G / r, F / c, r P, c R), the last ones padded with zeros."""
    rows, columns = shared
    if shared == (1, 1):
        return patches
    patches = functional.pad(patches, (0, 0, 0, 0, 0, 0, 0, -patches.shape[1] % rows))
    blocks = patches.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))  # (B, G / r, r, F / c, c, P, R)
    return blocks.permute(0, 1, 3, 2, 5, 4, 6).flatten(5).flatten(3, 4)


def of_patches(blocks: Tensor, shared: tuple[int, int], time_patches: int) -> Tensor:
    """Repeat estimates of blocks (B, G / r, F / c, ...) for each of their patches, (B, G, F, ...)."""
    if shared == (1, 1):
        return blocks
    return blocks.repeat_interleave(shared[0], 1)[:, :time_patches].repeat_interleave(shared[1], 2)


class LambdaEncoder(nn.Module):
    """Estimates the logits of alpha, beta and gamma from each patch separately, so that no masked patch can leak.

    Args:
        patch: (frames P, mel bins R) of its input, a patch or a block of patches.
        subbands: rows of patches; each has its own embedding.
        start: initial logits, around which estimates vary, shape (2, S).
        width: transformer width W.
        depth: transformer layers.
        heads: attention heads.
        frames_per_token: neighbouring frames that form one token.
        chirp: estimate gamma too; its logits are initially zero.
        gain: factor on the distance of logits from their initial values.
    """

    def __init__(
        self, patch: tuple[int, int], subbands: int, start: Tensor, width: int, depth: int, heads: int,
        frames_per_token: int, chirp: bool = False, gain: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.frames_per_token, self.gain, states = frames_per_token, gain, start.shape[1]
        tokens = patch[0] // frames_per_token
        self.embed = nn.Linear(patch[1] * frames_per_token, width)
        self.position = nn.Parameter(0.5 * torch.randn(tokens, width))
        self.subband = nn.Parameter(0.5 * torch.randn(subbands, 1, width))
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2 * states)
        nn.init.trunc_normal_(self.head.weight, std=LOGIT_DEVIATION)
        with torch.no_grad():
            self.head.bias.copy_(start.flatten())
        if chirp:
            self.chirp = _Zero(width, states)

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (..., F, P, R) to logits (..., F, 2, S), or (..., F, 3, S) with gamma."""
        tokens = patches.unflatten(-2, (-1, self.frames_per_token)).flatten(-2)
        x = self.embed(tokens) + (self.position + self.subband).to(tokens.dtype)
        shape = x.shape
        x = x.reshape(-1, *shape[-2:])
        for layer in self.layers:
            x = layer(x)
        pooled = self.norm(x.mean(-2))
        if self.gain != 1:
            pooled = self.gain * pooled
        heads = [self.head, self.chirp] if hasattr(self, "chirp") else [self.head]
        logits = torch.cat([head(pooled) for head in heads], dim=-1)
        return logits.reshape(*shape[:-2], 1 + len(heads), self.head.out_features // 2)


class _Zero(nn.Linear):
    """A zero-initialised linear map; it draws no random numbers, so other parameters start as they would without it."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class _Layer(nn.Module):
    """Pre-norm transformer layer on very short sequences.

    Plain matmul and softmax: the fused attention kernels are several times slower on a few tokens. The softmax is over
    the first dimension, with its elements far apart in memory: over a few contiguous elements it is ten times slower.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x_QLW: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x_QLW)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        with without_autocast(x_QLW):
            scores = (k * q.shape[-1] ** -0.5) @ q.transpose(-1, -2)  # (Q, heads, keys, queries)
            shares = torch.softmax(scores.permute(2, 0, 1, 3).contiguous(), dim=0)
            y = shares.permute(1, 2, 3, 0) @ v
        x_QLW = x_QLW + self.out(y.transpose(1, 2).flatten(-2))
        return x_QLW + self.down(functional.gelu(self.up(self.norm2(x_QLW))))
