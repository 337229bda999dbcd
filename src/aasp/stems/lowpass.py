"""Low-pass, then the strided convolution: no aliasing, and none of what would have aliased.

Legend: P frames x R mel bins of a patch, K frames of a window, L taps of the filter, D width.
Source: BlurPool (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again"): blur, then subsample. Convolution
and blur commute: the blur stands first and is computed at the patch's own frames only. Filter and edges are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aasp.casting import WithConstants, widened
from aasp.errors import AaspError
from aasp.stems.contract import StemConfig
from aasp.stems.conv import PatchProjection
from aasp.stems.windowed import WindowedStem, check_taps


@dataclass(frozen=True)
class LowpassConfig(StemConfig):
    """The low-pass stem.

    Attributes:
        kind: the name of this stem in recipes.
        patch: (frames P, mel bins R) of one patch.
        taps: frames K that a token reads: the patch's and half a filter of L = K - P + 1 to either side. The Hann
            filter halves amplitudes at 1 / (L + 1) of the frame rate: by default 2.9 Hz, just under the post-patch
            Nyquist frequency of 3.125 Hz.
    """

    kind: Literal["lowpass"] = "lowpass"
    patch: tuple[int, int] = (16, 16)
    taps: int = 48

    def __post_init__(self) -> None:
        check_taps(self.patch, self.taps)
        if self.taps == self.patch[0]:
            raise AaspError(f"stem: taps {self.taps} leaves no filter; try {3 * self.taps}, or the conv stem")

    def build(self, width: int, mels: int) -> LowpassStem:
        return LowpassStem(width, mels, self)


class LowpassStem(WindowedStem, WithConstants):
    """Patch tokens by a low-pass over time and a strided convolution.

    The filter's weights are scaled by what of them a view sees, so that a constant stays what it is at every edge.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: patch and filter.
    """

    smooth: Tensor

    def __init__(self, width: int, mels: int = 128, config: LowpassConfig | None = None) -> None:
        config = config or LowpassConfig()
        super().__init__(width, mels, config.patch, config.taps)
        self.config = config
        self.project = PatchProjection(self.patch, width)
        self.set_constants()

    def constants(self) -> dict[str, Tensor]:
        taps, frames = self.taps, self.patch[0]
        hann = torch.hann_window(taps - frames + 3, periodic=False, dtype=torch.float32)[1:-1]
        smooth_KP = torch.zeros(taps, frames, dtype=torch.float32)
        for frame in range(frames):
            smooth_KP[frame : frame + len(hann), frame] = hann / hann.sum()
        return {"smooth": smooth_KP}

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        assert seen is not None
        precision, windows = windows.dtype, widened(windows)
        smooth = self.smooth.to(windows.dtype)
        weight = seen.to(windows.dtype) @ smooth  # (..., 1, P)
        return self.project((windows @ smooth / weight.clamp_min(1e-3)).mT.to(precision))
