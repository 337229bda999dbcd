"""The usual patch embedding: a strided convolution, which aliases every modulation above the post-patch Nyquist.

Legend: P frames x R mel bins of a patch, K frames of the kernel, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from aasp.casting import LayerNorm
from aasp.config import ADDED_LATER, check_range
from aasp.stems.contract import StemConfig
from aasp.stems.windowed import WindowedStem, check_taps


@dataclass(frozen=True)
class ConvConfig(StemConfig):
    """The convolutional stem.

    Attributes:
        kind: the name of this stem in recipes.
        patch: (frames, mel bins) of one patch: the stride.
        taps: frames K of the kernel; kernels longer than P overlap, like AST's, and can learn a low-pass before
            subsampling.
        bottleneck: channels of the convolution, which are then normalised and projected to the width, as in BEATs.
        whole: from this number of whole time patches on, an incomplete last one is left out, as convolutions do (1: of
            every clip that has a whole one); padded with zeros if omitted.
    """

    kind: Literal["conv"] = "conv"
    patch: tuple[int, int] = (16, 16)
    taps: int | None = None
    bottleneck: int | None = field(default=None, metadata=ADDED_LATER)
    whole: int | None = field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_taps(self.patch, self.reach)
        check_range(self, "stem", "bottleneck")
        check_range(self, "stem", "whole", least=1)

    def build(self, width: int, mels: int) -> ConvStem:
        return ConvStem(width, mels, self)

    @property
    def reach(self) -> int:
        """K; P if `taps` is omitted."""
        return self.patch[0] if self.taps is None else self.taps


class PatchProjection(nn.Linear):
    """A convolution whose stride is its kernel: one linear map of each patch (..., P, R) to (..., D)."""

    def __init__(self, patch: tuple[int, int], width: int) -> None:
        super().__init__(patch[0] * patch[1], width)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, patches: Tensor) -> Tensor:
        return super().forward(patches.flatten(-2))


class ConvStem(WindowedStem):
    """Patch tokens by strided convolution (ViT, AST, EAT).

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: patch size and kernel.
    """

    def __init__(self, width: int, mels: int = 128, config: ConvConfig | None = None) -> None:
        config = config or ConvConfig()
        super().__init__(width, mels, config.patch, config.reach)
        self.config, self.whole = config, config.whole
        self.project = PatchProjection((self.taps, self.patch[1]), config.bottleneck or width)
        self.widen = nn.Sequential()
        if config.bottleneck is not None:
            self.widen = nn.Sequential(LayerNorm(config.bottleneck), nn.Linear(config.bottleneck, width))

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        return self.widen(self.project(windows.mT))
