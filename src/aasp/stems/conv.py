"""The usual patch embedding: a strided convolution, which aliases every modulation above the post-patch Nyquist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from aasp.stems.contract import Stem


@dataclass(frozen=True)
class ConvConfig:
    """The convolutional stem.

    Attributes:
        kind: the name of this stem in recipes.
        patch: (frames, mel bins) of one patch.
    """

    kind: Literal["conv"] = "conv"
    patch: tuple[int, int] = (16, 16)


class PatchProjection(nn.Linear):
    """A convolution whose stride is its kernel: one linear map of each patch (..., P, R) to (..., D)."""

    def __init__(self, patch: tuple[int, int], width: int) -> None:
        super().__init__(patch[0] * patch[1], width)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, patches: Tensor) -> Tensor:
        return super().forward(patches.flatten(-2))


class ConvStem(Stem):
    """Patch tokens by strided convolution (ViT, AST, EAT).

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: patch size.
    """

    def __init__(self, width: int, mels: int = 128, config: ConvConfig | None = None) -> None:
        config = config or ConvConfig()
        super().__init__(width, mels, config.patch)
        self.config = config
        self.project = PatchProjection(self.patch, width)

    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        return self.project(self.cut(mel_BTM)).flatten(1, 2)
