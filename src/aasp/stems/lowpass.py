"""Low-pass, then the strided convolution: avoids aliasing, and discards the modulations that would alias.

Legend: P frames x R mel bins of a patch, K frames of a window, L taps of the filter, D width.
Source: BlurPool (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again"): blur, then subsample. Convolution
and blur commute: here the blur comes first and is computed only at the patch's own frames. Ours: a Hann filter over
time only (BlurPool's are binomial, in both dimensions), and its edges.
Trained filters: Fonseca, Ferraro & Serra 2021, "Improving Sound Event Classification by Increasing Shift Invariance in
CNNs": one filter per channel, with taps from a softmax, so that they are positive and sum to 1. Their channels are
feature maps, and the filters, over time and frequency, start at random. Ours: the channels are the mel bins of a patch,
and the filters, over time only, start as the Hann filter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.casting import WithConstants, widened
from aasp.config import ADDED_LATER
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
        taps: receptive field K of a token in frames: the patch, and half a filter of L = K - P + 1 taps on each side;
            by default 3 P. The Hann filter halves amplitudes at 1 / (L + 1) of the frame rate: by default just under
            the post-patch Nyquist frequency (2.9 of 3.125 Hz for patches of 16 frames, 5.6 of 6.25 Hz for 8).
        trained: learn the filter of each mel bin of a patch, starting from the Hann filter.
    """

    kind: Literal["lowpass"] = "lowpass"
    patch: tuple[int, int] = (16, 16)
    taps: int | None = None
    trained: bool = field(default=False, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        check_taps(self.patch, self.reach)
        if self.reach == self.patch[0]:
            raise AaspError(f"stem: taps {self.reach} leaves no filter; try {3 * self.reach}, or the conv stem")

    @property
    def reach(self) -> int:
        """K; 3 P if `taps` is omitted."""
        return 3 * self.patch[0] if self.taps is None else self.taps

    def build(self, width: int, mels: int) -> LowpassStem:
        return LowpassStem(width, mels, self)


class FilteredStem(WindowedStem, WithConstants):
    """A stem with a low-pass over time before its convolution.

    The filter's output is divided by the sum of its weights over visible frames, so that constants are preserved at
    edges.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        patch: (frames P, mel bins R) of one patch.
        taps: window K in frames.
        kept: number of filtered frames of a window, those for which it contains the whole filter of K - kept + 1 taps.
        trained: learn the filter of each mel bin of a patch.
    """

    smooth: Tensor

    def __init__(self, width: int, mels: int, patch: tuple[int, int], taps: int, kept: int, trained: bool) -> None:
        super().__init__(width, mels, patch, taps)
        self.kept = kept
        self.project = PatchProjection(self.patch, width)
        self.logits = nn.Parameter(self._hann().log().expand(patch[1], -1).clone()) if trained else None
        self.set_constants()

    def _hann(self) -> Tensor:
        """The initial filter, shape (L,)."""
        hann = torch.hann_window(self.taps - self.kept + 3, periodic=False, dtype=torch.float32)[1:-1]
        return hann / hann.sum()

    def constants(self) -> dict[str, Tensor]:
        return {"smooth": self._shifted(self._hann()[None])[0]}

    @property
    def filters(self) -> Tensor:
        """The trained filter of each mel bin of a patch, shape (R, L), or the fixed one for all, (1, L)."""
        return self.smooth[: self.taps - self.kept + 1, :1].T if self.logits is None else self.logits.softmax(-1)

    def learned(self) -> dict[str, Tensor]:
        filters = {} if self.logits is None else {"filters": self.filters.detach()}
        return filters | {name: one for name, one in super().learned().items() if name != "logits"}

    def blurred(self, windows: Tensor, seen: Tensor) -> Tensor:
        """Low-pass windows (..., R, K), visible where `seen` (..., 1, K) is 1, to (..., R, kept)."""
        if self.logits is None:
            smooth = self.smooth.to(windows.dtype)
            weight = seen.to(windows.dtype) @ smooth  # (..., 1, kept)
            return windows @ smooth / weight.clamp_min(1e-3)
        smooth = self._shifted(widened(self.filters)).to(windows.dtype)  # (R, K, kept)
        weight = torch.einsum("...k,rkp->...rp", seen[..., 0, :].to(windows.dtype), smooth)
        return torch.einsum("...rk,rkp->...rp", windows, smooth) / weight.clamp_min(1e-3)

    def _shifted(self, filters: Tensor) -> Tensor:
        """Filters (R, L) as matrices from K frames to the kept ones, shape (R, K, kept)."""
        # Repeating a row of K + 1 values and cutting the result into rows of K shifts each row by one.
        rows = functional.pad(filters, (0, self.kept)).repeat(1, self.kept)[:, : self.kept * self.taps]
        return rows.unflatten(1, (self.kept, self.taps)).mT


class LowpassStem(FilteredStem):
    """Patch tokens by a low-pass over time and a strided convolution.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: patch and filter.
    """

    def __init__(self, width: int, mels: int = 128, config: LowpassConfig | None = None) -> None:
        config = config or LowpassConfig()
        super().__init__(width, mels, config.patch, config.reach, config.patch[0], config.trained)
        self.config = config

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        assert seen is not None
        return self.project(self.blurred(widened(windows), seen).mT.to(windows.dtype))
