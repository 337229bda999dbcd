"""Overlapping convolution: a kernel longer than its stride, which may learn to blur before it subsamples.

Legend: P frames of stride x R mel bins of a patch, K frames of the kernel, D width.
Source: AST (overlapping patches), in time only; cut off at what a view sees (ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from aasp.stems.conv import PatchProjection
from aasp.stems.windowed import WindowedStem, check_taps


@dataclass(frozen=True)
class OverlapConfig:
    """The overlapping convolution.

    Attributes:
        kind: the name of this stem in recipes.
        patch: (frames P, mel bins R) of one patch: the stride.
        taps: frames K of the kernel.
    """

    kind: Literal["overlap"] = "overlap"
    patch: tuple[int, int] = (16, 16)
    taps: int = 32

    def __post_init__(self) -> None:
        check_taps(self.patch, self.taps)


class OverlapStem(WindowedStem):
    """Patch tokens by a convolution over K frames and R mel bins, centred on each patch.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: patch and kernel.
    """

    def __init__(self, width: int, mels: int = 128, config: OverlapConfig | None = None) -> None:
        config = config or OverlapConfig()
        super().__init__(width, mels, config.patch, config.taps)
        self.config = config
        self.project = PatchProjection((config.taps, config.patch[1]), width)

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        return self.project(windows.transpose(-1, -2))
