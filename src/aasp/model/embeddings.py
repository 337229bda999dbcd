"""What a model says of clips.

Legend: B clips, G x F grid of patches, N = G * F patch tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class Embeddings:
    """What an AudioEncoder returns, in fp32, or float64 of a model in float64.

    Attributes:
        clip: one vector a clip, shape (B, D'): the model's own (`AudioEncoderConfig.keys`), or as it was asked for.
        timestamps: one vector a time patch, subbands side by side, shape (B, G, F * D), zero beyond a clip's end.
        seconds: centre of each time patch, shape (G,).
        valid: time patches that belong to each clip, boolean, shape (B, G).
        tokens: normalised patch tokens, shape (B, N, D).
        cls: class token, shape (B, D).
        layers: (tokens, cls) of each block when asked for, else empty; index 0 is the input of the first block.
    """

    clip: Tensor
    timestamps: Tensor
    seconds: Tensor
    valid: Tensor
    tokens: Tensor
    cls: Tensor
    layers: list[tuple[Tensor, Tensor]]

    def without(self, columns: int, subbands: int) -> Embeddings:
        """The same but for the last time patches, which no clip reaches."""
        left = self.valid.shape[1] - columns
        first = lambda many, of: (torch.arange(many, device=self.valid.device) < of).nonzero()[:, 0]
        kept, patches = first(left + columns, left), first((left + columns) * subbands, left * subbands)
        cut = lambda tokens: tokens[:, patches]
        layers = [(cut(tokens), cls) for tokens, cls in self.layers]
        over_time = dict(timestamps=self.timestamps[:, kept], seconds=self.seconds[kept], valid=self.valid[:, kept])
        return replace(self, **over_time, tokens=cut(self.tokens), layers=layers)  # type: ignore[arg-type]

    @property
    def stages(self) -> list[tuple[Tensor, Tensor]]:
        """(tokens, cls) of layers 0 to depth, the last normalised; the last alone unless layers were asked for."""
        return [*self.layers[:-1], (self.tokens, self.cls)]
