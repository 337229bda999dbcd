"""AST's patch embedding: a strided convolution whose kernels overlap in time and in frequency.

Legend: P frames x R mel bins of a kernel, strides p and r, G x F grid, D width.
Source: Gong, Chung & Glass 2021 (AST): 16 x 16 with a stride of 10. In time a kernel is centred on the frames of its
stride and extends beyond both ends of the clip: ten seconds give 100 columns (there: 101 from 1,024 padded frames).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.stems.contract import MAX_PATCH, StemConfig
from aasp.stems.conv import PatchProjection
from aasp.stems.windowed import WindowedStem, check_taps


@dataclass(frozen=True)
class ASTConfig(StemConfig):
    """The stem of AST, for encoders of whole clips only: its kernels would overlap masked patches.

    Attributes:
        kind: the name of this stem in recipes.
        patch: stride (frames, mel bins) of the kernels.
        kernel: size (frames, mel bins) of a kernel.
    """

    carried: ClassVar[tuple[str, ...]] = ()  # its patches overlap
    kind: Literal["ast"] = "ast"
    patch: tuple[int, int] = (10, 10)
    kernel: tuple[int, int] = (16, 16)

    def __post_init__(self) -> None:
        check_taps(self.patch, self.kernel[0])
        check_range(self, "stem", "kernel", least=1, most=MAX_PATCH)
        if self.kernel[1] < self.patch[1]:
            text = f"kernels of {self.kernel[1]} mel bins, {self.patch[1]} from one to the next, leave some out"
            raise AaspError(f"stem: {text}; give a kernel at least as high as its stride")

    def build(self, width: int, mels: int) -> ASTStem:
        return ASTStem(width, mels, self)


class ASTStem(WindowedStem):
    """Patch tokens of overlapping kernels.

    Args:
        width: token width D.
        mels: mel bins M of the log-mel; F kernels fit into them, bins above the last one are ignored.
        config: kernel and stride.

    Raises:
        AaspError: no kernel fits.
    """

    def __init__(self, width: int, mels: int = 128, config: ASTConfig | None = None) -> None:
        config = config or ASTConfig()
        rows = (mels - config.kernel[1]) // config.patch[1] + 1
        if rows < 1:
            raise AaspError(f"stem: a kernel of {config.kernel[1]} mel bins does not fit into {mels}; give a lower one")
        super().__init__(width, rows * config.patch[1], config.patch, config.kernel[0])
        self.config, self.mels = config, mels
        self.project = PatchProjection(config.kernel, width)

    def cut(self, mel_BTM: Tensor) -> Tensor:
        """The frames of each stride for each row of kernels, shape (B, G, F, p, R); rows overlap."""
        frames, bins = self.patch
        mel_BTM = self.as_mel(mel_BTM)
        columns, _ = self.grid(mel_BTM.shape[1])
        mel_BTM = functional.pad(mel_BTM, (0, 0, 0, columns * frames - mel_BTM.shape[1]))
        rows_BTFR = mel_BTM.unfold(2, self.config.kernel[1], bins)
        return rows_BTFR.unflatten(1, (columns, frames)).transpose(2, 3)

    def token(self, patches: Tensor, windows: Tensor, seen: Tensor | None, *others: Tensor) -> Tensor:
        return self.project(windows.mT)

    def views(self, mel_BTM: Tensor, visible_BVn: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        text = "kernels that overlap in frequency look into patches beside them, so that masked ones would leak"
        raise AaspError(f"stem: {text}; train with whole clips (aasp finetune --scratch, augment.patchout=0)")
