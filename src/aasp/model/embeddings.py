"""A model's output for clips, and the interface of models.

Legend: B clips, S samples, G x F grid of patches, N = G * F patch tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aasp.model.pooling import Pooling
from aasp.model.readout import Key
from aasp.model.whitening import Whitening
from aasp.stems import Stem
from aasp.weights import model_hash

if TYPE_CHECKING:
    from aasp.model.audio_encoder import AudioEncoderConfig


def subbands(config: AudioEncoderConfig) -> int:
    """Subbands F of a model's grid."""
    with torch.device("meta"):
        return config.stem.build(config.encoder.width, config.frontend.bins).subbands


@dataclass
class Embeddings:
    """The output of an AudioEncoder, in fp32, or in float64 for a model in float64.

    Attributes:
        clip: one vector per clip, shape (B, D'): the default vector (`AudioEncoderConfig.keys`) or the requested one.
        timestamps: one vector per time patch, subbands concatenated, shape (B, G, F * D), zero beyond a clip's end.
        seconds: centre of each time patch, shape (G,): evenly spaced and the same for all clips. If a clip fills less
            than half of its last patch, that centre lies up to half a patch beyond its end. Frames are counted as hops
            from the start of the clip; the middle of a frame's analysis window is half of (window - hop) later, 7.5 ms
            by default, except with `centered` windows.
        valid: time patches that belong to each clip, boolean, shape (B, G).
        tokens: normalised patch tokens, shape (B, N, D).
        cls: class token, shape (B, D).
        layers: (tokens, cls) of each block if requested, else empty; index 0 is the input of the first block.
    """

    clip: Tensor
    timestamps: Tensor
    seconds: Tensor
    valid: Tensor
    tokens: Tensor
    cls: Tensor
    layers: list[tuple[Tensor, Tensor]]

    def of_first(self, frames: int, stem: Stem) -> Embeddings:
        """The same of the first `frames` frames; the others are beyond every clip's end."""
        columns, subbands = self.valid.shape[1], stem.subbands
        left = stem.time_patches(torch.full((), frames, device=self.valid.device))
        first = lambda many, of: (torch.arange(many, device=self.valid.device) < of).nonzero()[:, 0]
        kept, patches = first(columns, left), first(columns * subbands, left * subbands)
        cut = lambda tokens: tokens[:, patches]
        layers = [(cut(tokens), cls) for tokens, cls in self.layers]
        over_time = dict(timestamps=self.timestamps[:, kept], seconds=self.seconds[kept], valid=self.valid[:, kept])
        return replace(self, **over_time, tokens=cut(self.tokens), layers=layers)  # type: ignore[arg-type]

    @property
    def stages(self) -> list[tuple[Tensor, Tensor]]:
        """(tokens, cls) of layers 0 to depth, the last one normalised; only the last unless layers are requested."""
        return [*self.layers[:-1], (self.tokens, self.cls)]


class Embedder(nn.Module, ABC):
    """Turns waveforms into `Embeddings`: an AudioEncoder, or an exported one.

    Attributes:
        config: configuration of the model.
        whitening: whitening of the default vector; None if it has none, or none that is separate.
        longest: largest length of a clip in seconds. An embedder without a limit also returns the tokens of all layers.
    """

    config: AudioEncoderConfig
    whitening: Whitening | None
    longest: float = float("inf")

    @property
    def device(self) -> torch.device:
        """The device on which it expects waveforms."""
        return next(self.parameters()).device

    @property
    def digest(self) -> str:
        """Hash that identifies the model, in hex."""
        return model_hash(self)

    @cached_property
    def subbands(self) -> int:
        """Subbands F of its grid."""
        return subbands(self.config)

    @abstractmethod
    def forward(
        self,
        wave_BS: Tensor,
        lengths_B: Tensor | None = None,
        *,
        layers: bool = False,
        pooling: Pooling | Sequence[Key] | None = None,
    ) -> Embeddings:
        """See `aasp.model.audio_encoder.AudioEncoder.forward`."""
