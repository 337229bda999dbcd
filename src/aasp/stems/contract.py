"""Interface of patch embeddings ("stems").

Legend: B clips, V views of a clip, T frames, M mel bins, D width; the grid has G time patches x F subbands, N = G * F
patches in time-major order (n = g * F + f), each P frames x R mel bins; n visible patches per view.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp.errors import AaspError
from aasp.tracing import is_known

if TYPE_CHECKING:
    from aasp.stems.states import States


class StemConfig(ABC):
    """Base class of a stem's configuration, a frozen dataclass.

    Attributes:
        patch: (frames P, mel bins R) of one patch: the stride.
        whole: from this number of whole time patches on, an incomplete last one is left out; None to pad it always.
    """

    carried: ClassVar[tuple[str, ...]] = ("patch",)
    """Fields that keep their values when `--set` replaces another stem by this one: both have the same tokens."""
    patch: tuple[int, int]
    whole: int | None = None

    def time_patches(self, frames: int) -> int:
        """Time patches of a clip of `frames` frames."""
        return time_patches(frames, self.patch[0], self.whole)

    @abstractmethod
    def build(self, width: int, mels: int) -> Stem:
        """Build the stem, with random weights, for tokens of `width` and a log-mel of `mels` bins."""


MAX_PATCH = 4_096
"""Largest receptive field of a token, in frames or mel bins."""


class Stem(nn.Module, ABC):
    """A patch embedding: log-mel (B, T, M) to tokens (B, N, D) on a grid.

    Args:
        width: token width D.
        mels: mel bins M, a multiple of the patch height.
        patch: (frames P, mel bins R) of one patch; patches do not overlap.

    Attributes:
        whole: as in `StemConfig`.

    Raises:
        AaspError: the mel bins are not a multiple of the patch height, or the patch is empty.
    """

    whole: int | None = None

    def __init__(self, width: int, mels: int, patch: tuple[int, int]) -> None:
        super().__init__()
        if min(patch) < 1:
            raise AaspError(f"stem: patch is {patch[0]},{patch[1]}; give at least 1 frame and 1 mel bin, as in 16,16")
        if max(patch) > MAX_PATCH:
            raise AaspError(f"stem: patch is {patch[0]},{patch[1]}; give at most {MAX_PATCH} of each")
        if mels % patch[1]:
            raise AaspError(f"stem: {mels} mel bins cannot be cut in patches of {patch[1]}; choose a divisor of {mels}")
        self.width, self.mels, self.patch = width, mels, (patch[0], patch[1])
        self.subbands = mels // patch[1]

    @property
    def stride(self) -> tuple[int, int]:
        """Frames and mel bins from one patch to the next: the patch size, since patches do not overlap."""
        return self.patch

    @property
    def receptive_field(self) -> int:
        """Frames that a token depends on, centred on its patch."""
        return self.patch[0]

    def grid(self, frames: int) -> tuple[int, int]:
        """Time patches and subbands (G, F) of a log-mel of `frames` frames; a partial last patch counts (see `whole`).

        In a graph for any length it always counts, and `valid_patches` leaves it out.
        """
        return time_patches(frames, self.patch[0], self.whole), self.subbands

    def time_patches(self, frames_B: Tensor) -> Tensor:
        """Time patches of clips of `frames_B` valid frames, both of shape (B,)."""
        columns_B = (frames_B + self.patch[0] - 1) // self.patch[0]
        if self.whole is None:
            return columns_B
        whole_B = frames_B // self.patch[0]
        return torch.where(whole_B >= self.whole, whole_B, columns_B)

    def valid_patches(self, frames_B: Tensor, frames: int) -> Tensor:
        """Patches of each clip's own grid, boolean, shape (B, N)."""
        columns, subbands = self.grid(frames)
        column_N = torch.arange(columns * subbands, device=frames_B.device) // subbands
        return column_N < self.time_patches(frames_B)[:, None]

    def diagnostics(self, mel_BTM: Tensor) -> dict[str, Tensor]:
        """Metrics of this stem for the training log, measured on a batch: 0-d tensors by name."""
        return {}

    def gradient_diagnostics(self) -> dict[str, Tensor]:
        """Metrics of its gradients for the training log, computed between backward and the optimizer's step."""
        return {}

    def learning_rate_share(self, name: str) -> float:
        """The learning-rate factor of the parameter of this name in pre-training."""
        return 1.0

    @property
    def states(self) -> States | None:
        """The stem as inspectable `aasp.stems.states.States`, if its tokens are computed from states; else None."""
        return None

    def with_all_features(self) -> Self:
        """A copy whose tokens use with weight 1 features that are ignored initially; else the stem itself."""
        return self

    def learned(self) -> dict[str, Tensor]:
        """Its trained values by name and unit, in readable form; by default all parameters of each part."""
        parts: dict[str, list[Tensor]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                parts.setdefault(name.partition(".")[0], []).append(parameter.detach().flatten())
        return {name: torch.cat(found) for name, found in parts.items()}

    def as_mel(self, mel_BTM: object) -> Tensor:
        """Check a log-mel and convert it to the dtype of the stem's weights, if it has any.

        Raises:
            AaspError: it is not a floating-point tensor, not of shape (B, T, M), or on another device.
        """
        if not isinstance(mel_BTM, Tensor):
            raise AaspError(f"stem: log-mel of type {type(mel_BTM).__name__}; give a tensor (clips, frames, mel bins)")
        fits = mel_BTM.dim() == 3 and mel_BTM.shape[2] == self.mels
        if not fits or (is_known(mel_BTM.shape[1]) and mel_BTM.shape[1] == 0):
            raise AaspError(
                f"stem: log-mel of shape {tuple(mel_BTM.shape)} is not (clips, frames, {self.mels} mel bins)"
                f"{_turned(mel_BTM, self.mels)}"
            )
        if not mel_BTM.is_floating_point():
            raise AaspError(f"stem: log-mel of {mel_BTM.dtype}; give it normalised, as `LogMel` does, in fp32")
        weight = next(self.parameters(), mel_BTM)
        if mel_BTM.device != weight.device:
            raise AaspError(f"stem: log-mel on {mel_BTM.device}, the stem on {weight.device}; move one to the other")
        return mel_BTM.to(weight.dtype)

    def cut(self, mel_BTM: Tensor) -> Tensor:
        """Cut a log-mel into patches, shape (B, G, F, P, R); a partial last patch is padded with zeros (see `whole`).

        Raises:
            AaspError: as in `as_mel`.
        """
        frames, _ = self.patch
        mel_BTM = self.as_mel(mel_BTM)
        columns, subbands = self.grid(mel_BTM.shape[1])
        mel_BTM = functional.pad(mel_BTM, (0, 0, 0, columns * frames - mel_BTM.shape[1]))  # cuts off if negative
        return mel_BTM.unflatten(2, (subbands, -1)).unflatten(1, (columns, frames)).transpose(2, 3)

    @abstractmethod
    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """Embed whole clips.

        Args:
            mel_BTM: normalised log-mel, shape (B, T, M), zero beyond each clip's end.
            valid_BN: patches that belong to each clip, boolean, shape (B, N); all if omitted.

        Returns:
            Tokens, shape (B, N, D). No valid token depends on an invalid patch.
        """

    def views(self, mel_BTM: Tensor, visible_BVn: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        """Embed the visible patches of several masked views of each clip.

        Args:
            mel_BTM: as in `forward`.
            visible_BVn: indices of each view's visible patches, shape (B, V, n); all are visible (see `only_valid`).
            valid_BN: as in `forward`.

        Returns:
            Tokens of the visible patches, shape (B, V, n, D). No token depends on a patch that is hidden from its view.

        Raises:
            AaspError: the stem's receptive field is larger than a patch and it does not override `views`.
        """
        if self.receptive_field > self.patch[0]:
            text = f"sees {self.receptive_field} frames of patches of {self.patch[0]}, so that masked ones would leak"
            raise AaspError(f"stem: {type(self).__name__} {text}; define its `views`, or derive it from WindowedStem")
        return gather_patches(self(mel_BTM, valid_BN), visible_BVn)


def time_patches(frames: int, patch: int, whole: int | None) -> int:
    """Time patches of `frames` frames, `patch` frames each; `whole` as in `StemConfig`, without effect in a graph for
    any length."""
    if whole is not None and is_known(frames) and frames // patch >= whole:
        return frames // patch
    return (frames + patch - 1) // patch


def gather_patches(tokens_BND: Tensor, index_BVn: Tensor) -> Tensor:
    """Gather tokens (B, N, ...) at indices (B, V, n) to (B, V, n, ...), in one gather for all views."""
    clips = torch.arange(tokens_BND.shape[0], device=tokens_BND.device)[:, None, None]
    return tokens_BND[clips, index_BVn]


def only_valid(index_BVn: Tensor, valid_BVn: Tensor) -> Tensor:
    """Indices (B, V, n) in which padding repeats the first one: all that `Stem.views` is given count as visible."""
    return torch.where(valid_BVn, index_BVn, index_BVn[..., :1])


def gather_own_patches(x_BVN: Tensor, index_BVn: Tensor) -> Tensor:
    """Gather values per view (B, V, N, ...) at indices (B, V, n) to (B, V, n, ...)."""
    clips, views = (torch.arange(size, device=x_BVN.device) for size in x_BVN.shape[:2])
    return x_BVN[clips[:, None, None], views[:, None], index_BVn]


def _turned(mel: Tensor, mels: int) -> str:
    """The remedy for a log-mel of another shape."""
    if mel.dim() == 2 and mel.shape[1] == mels:
        return "; give mel[None]"
    if mel.dim() == 4 and mel.shape[1] == 1:
        return "; give mel.squeeze(1)"
    if mel.dim() == 3 and mel.shape[1] == mels:
        return "; give mel.transpose(1, 2)"
    return f"; give one, or build the stem for {mel.shape[-1]} mel bins" if mel.dim() == 3 else "; give one"
