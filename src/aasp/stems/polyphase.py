"""Adaptive polyphase sampling: of several offsets of the patch grid, the one with the most energy is used.

The tokens of a strided convolution change when a sound is delayed by a few frames. Here the convolution is computed at
several offsets of the patches, and the whole view uses the offset whose tokens have the largest norm. A sound delayed
by one offset then lies at the same frames of a patch as before.

Legend: B clips, V views of n visible patches, P frames x R mel bins of a patch, K frames of a window, L taps of the
filter, C offsets, D width.
Source: Chaman & Dokmanic 2021, "Truly Shift-Invariant Convolutional Neural Networks", and for spectrograms, with a
low-pass before it, Fonseca, Ferraro & Serra 2021 (see `lowpass`). They apply it to poolings of stride 2, in time and
frequency; ours is for the patches' stride, in time only, since each mel bin of a patch has its own weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from aasp.casting import widened
from aasp.config import check_range
from aasp.errors import AaspError
from aasp.stems.contract import StemConfig, gather_own_patches
from aasp.stems.lowpass import FilteredStem
from aasp.stems.windowed import check_taps


@dataclass(frozen=True)
class PolyphaseConfig(StemConfig):
    """The stem that chooses the offset of its patches.

    Attributes:
        kind: the name of this stem in recipes.
        patch: (frames P, mel bins R) of one patch.
        taps: receptive field K of a token in frames: two patches, and half a low-pass filter of L = K - 2P + 1 taps on
            each side. By default 2P, without a filter; 4P gives that of the low-pass stem.
        offsets: number of offsets to choose from, P / `offsets` frames apart.
        trained: learn the filter, as in the low-pass stem.
    """

    kind: Literal["polyphase"] = "polyphase"
    patch: tuple[int, int] = (16, 16)
    taps: int | None = None
    offsets: int = 4
    trained: bool = False

    def __post_init__(self) -> None:
        check_range(self, "stem", "offsets", least=2)
        frames = self.patch[0]
        check_taps(self.patch, self.reach)
        if frames % 2 or frames % self.offsets:
            raise AaspError(f"stem: offsets {self.offsets} and 2 must divide the patch's {frames} frames; try 2 or 4")
        if self.reach < 2 * frames:
            text = f"taps {self.reach} holds no patch that is moved by up to half of its {frames} frames"
            raise AaspError(f"stem: {text}; try {2 * frames}, or {4 * frames} with a low-pass")
        if self.trained and self.reach == 2 * frames:
            raise AaspError(f"stem: taps {self.reach} leaves no filter that could be trained; try {4 * frames}")

    @property
    def reach(self) -> int:
        """K; 2P if `taps` is omitted."""
        return 2 * self.patch[0] if self.taps is None else self.taps

    def build(self, width: int, mels: int) -> PolyphaseStem:
        return PolyphaseStem(width, mels, self)


class PolyphaseStem(FilteredStem):
    """Patch tokens by a strided convolution, at the offset for which a view's tokens are largest.

    The choice is made once per view (for unmasked clips: once per clip), from visible patches only, and has no
    gradient. By this choice, a token also depends on the rest of its view.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        config: patch, offsets and filter.
    """

    def __init__(self, width: int, mels: int = 128, config: PolyphaseConfig | None = None) -> None:
        config = config or PolyphaseConfig()
        super().__init__(width, mels, config.patch, config.reach, 2 * config.patch[0], config.trained)
        self.config = config
        self.step, self.offsets = self.patch[0] // config.offsets, config.offsets

    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        mel_BTM = self.as_mel(mel_BTM)
        columns, subbands = self.grid(mel_BTM.shape[1])
        every = torch.arange(columns * subbands, device=mel_BTM.device).expand(mel_BTM.shape[0], 1, -1)
        return self.views(mel_BTM, every, valid_BN)[:, 0]

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        assert seen is not None
        tokens = self.candidates(windows, seen)
        return gather_own_patches(tokens.transpose(2, 3), self.chosen(tokens, seen)[..., None]).squeeze(2)

    def candidates(self, windows: Tensor, seen: Tensor) -> Tensor:
        """The tokens at every offset, the first one half a patch earlier, (B, V, n, C, D)."""
        blurred = widened(windows)
        if margin := (self.taps - self.kept) // 2:  # hidden frames contribute no energy
            blurred = self.blurred(blurred, seen) * seen[..., margin:-margin].to(blurred.dtype)
        moved = blurred.unfold(-1, self.patch[0], self.step)[..., : self.offsets, :]  # (B, V, n, R, C, P)
        return self.project(moved.permute(0, 1, 2, 4, 5, 3).to(windows.dtype))

    def chosen(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Index of each view's offset, (B, V): the one with the largest norm over the visible patches."""
        own_BVn11 = seen[..., self.taps // 2, None].to(torch.float32)  # whether the patch itself is visible
        return (tokens.detach().float().square() * own_BVn11).sum((2, 4)).argmax(-1)

    @torch.no_grad()
    def diagnostics(self, mel_BTM: Tensor) -> dict[str, Tensor]:
        """How evenly the offsets are used: the normalised entropy of their shares over clips, 1 if uniform."""
        patches = self.cut(mel_BTM)
        (windows,) = self.analyse(patches)
        windows = windows.flatten(1, 2)[:, None]
        seen = torch.ones_like(windows[..., :1, :])
        shares = functional.one_hot(self.chosen(self.candidates(windows, seen), seen)[:, 0], self.offsets)
        shares = shares.float().mean(0)
        entropy = -(shares * shares.clamp_min(1e-9).log()).sum()
        return {"offset_entropy": entropy / torch.tensor(float(self.offsets)).log()}
