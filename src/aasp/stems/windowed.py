"""Stems with receptive fields beyond their patch: windows around each patch, zero at frames hidden from a view.

Legend: B clips, V views of n visible patches, G x F grid of N patches, P frames x R mel bins of a patch, K frames of a
window, S signals of a subband. Source: ours.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from aasp.errors import AaspError
from aasp.stems.contract import MAX_PATCH, Stem, gather_own_patches, gather_patches


class WindowedStem(Stem):
    """A stem whose tokens are computed from windows of K frames, each centred on its patch.

    The signals in the windows, and everything else that depends only on the patch, are computed once per clip; the
    tokens once per view, from windows in which all frames hidden from the view are zero.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel.
        patch: (frames P, mel bins R) of one patch.
        taps: window K in frames (see `check_taps`).
        leaky: let the windows of masked views contain masked patches; a control.
    """

    def __init__(self, width: int, mels: int, patch: tuple[int, int], taps: int, leaky: bool = False) -> None:
        super().__init__(width, mels, patch)
        self.taps, self.leaky = taps, leaky

    @property
    def receptive_field(self) -> int:
        return self.taps

    def analyse(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Windows (B, G, F, S, K) of the signals of patches (B, G, F, P, R), and further inputs of the tokens."""
        return (around(patches, self.taps),)

    @property
    def sees_its_patch_only(self) -> bool:
        """Whether a token depends only on its own patch, so that it is the same in all views."""
        return self.taps == self.patch[0]

    def view_context(self, patches: Tensor, seen_BVN: Tensor) -> tuple[Tensor, ...]:
        """Additional inputs of the tokens of each patch, (B, V, N, ...), that depend on other visible patches of the
        view.

        Args:
            patches: (B, G, F, P, R).
            seen_BVN: which of them are visible in each view, 0 or 1.
        """
        return ()

    @abstractmethod
    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        """Tokens (..., D).

        Args:
            patches: (..., P, R).
            windows: (..., S, K), zero at hidden frames.
            seen: which taps are visible, 0 or 1, shape (..., 1, K); None if `sees_its_patch_only`.
            others: the further outputs of `analyse`, and those of `view_context`.
        """

    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        patches = self.cut(mel_BTM)
        windows, *others = self.analyse(patches)
        seen = None
        if not self.sees_its_patch_only:
            if valid_BN is None:
                valid_BN = windows.new_ones(windows.shape[0], windows.shape[1] * self.subbands)
            seen = self._seen(valid_BN)
            windows = windows * seen.to(windows.dtype)
            more = self.view_context(patches, valid_BN[:, None])
            others += [one[:, 0].unflatten(1, windows.shape[1:3]) for one in more]
        return self.token(patches, windows, seen, *others).flatten(1, 2)

    def views(self, mel_BTM: Tensor, visible_BVn: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        if self.sees_its_patch_only or self.leaky:
            return gather_patches(self(mel_BTM, valid_BN), visible_BVn)
        patches = self.cut(mel_BTM)
        visible_BVN = torch.zeros(*visible_BVn.shape[:2], patches.shape[1] * self.subbands, device=mel_BTM.device)
        visible_BVN = visible_BVN.scatter(2, visible_BVn, 1.0)
        if valid_BN is not None:
            visible_BVN = visible_BVN * valid_BN[:, None]
        more = [gather_own_patches(one, visible_BVn) for one in self.view_context(patches, visible_BVN)]
        seen = self._seen(visible_BVN.flatten(0, 1)).flatten(1, 2).unflatten(0, visible_BVn.shape[:2])
        padding = functional.pad(visible_BVn[..., 1:] == visible_BVn[..., :1], (1, 0))  # repeats (see `only_valid`)
        seen = gather_own_patches(seen, visible_BVn).masked_fill(padding[..., None, None], 0.0)
        windows, *others = self.analyse(patches)
        patches, windows, *others = (
            gather_patches(x.flatten(1, 2), visible_BVn) for x in (patches, windows.transpose(3, 4), *others)
        )
        windows = windows.transpose(3, 4)
        return self.token(patches, windows * seen.to(windows.dtype), seen, *others, *more)

    def _seen(self, seen_BN: Tensor) -> Tensor:
        """Which taps are in visible patches, 0 or 1, shape (B, G, F, 1, K)."""
        patches = seen_BN.float().unflatten(1, (-1, self.subbands))[..., None, None]
        return around(patches.expand(-1, -1, -1, self.patch[0], 1), self.taps)


def check_taps(patch: tuple[int, int], taps: int) -> None:
    """Check that a window of `taps` frames can be centred on a patch.

    Raises:
        AaspError: it can't.
    """
    frames = patch[0]
    if min(patch) < 1:
        raise AaspError(f"stem: patch is {patch[0]},{patch[1]}; give at least 1 frame and 1 mel bin, as in 16,16")
    if max(*patch, taps) > MAX_PATCH:
        raise AaspError(f"stem: patch {patch[0]},{patch[1]} and taps {taps}; give at most {MAX_PATCH} of each")
    if taps < frames or (taps - frames) % 2:
        raise AaspError(
            f"stem: taps {taps} must be the patch's {frames} frames plus an even number, so that the window is centred "
            f"on the patch; try {frames}, {2 * frames} or {3 * frames}"
        )


def around(patches: Tensor, taps: int) -> Tensor:
    """Windows of K frames around each patch, zero beyond the clip: (B, G, F, P, S) to (B, G, F, S, K).

    In memory S is the last dimension, so that operations on one tap read contiguous values.
    """
    frames, columns = patches.shape[3], patches.shape[1]
    margin = (taps - frames) // 2
    if margin == 0:
        return patches.transpose(3, 4)
    reach = -(-margin // frames)  # patches on each side
    padded = functional.pad(patches, (0, 0, 0, 0, 0, 0, reach, reach))
    first = reach * frames - margin
    parts = []
    for i in range(2 * reach + 1):
        begin, end = max(first - i * frames, 0), min(first + taps - i * frames, frames)
        parts.append(padded[:, i : i + columns, :, begin:end])
    return torch.cat(parts, dim=3).transpose(3, 4)
