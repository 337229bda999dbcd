"""Mixtures of the log-mels of a batch's clips.

Legend: B clips, T frames, M mel bins, N patches, D width.
Source: SSLAM (Alex et al. 2025) and its code: the element-wise maximum of two log-mels, except in two gaps of 240 of
1024 frames, where a mixture's target is the clip's own. For the partner's targets the teacher sees only its patches in
the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.config import check_range
from aasp.devices import copied
from aasp.errors import AaspError
from aasp.pretrain.encoding import Clips


@dataclass(frozen=True)
class MixingConfig:
    """How a clip is mixed with another.

    Attributes:
        gaps: number of gaps, in which the clip is not mixed; they don't overlap, and consist of whole patches.
        gap: length of each gap as a share of the clip.
    """

    gaps: int = 2
    gap: float = 240 / 1024

    def __post_init__(self) -> None:
        check_range(self, "mixing", "gaps gap", least=0)
        if self.gaps * self.gap > 1:
            text = f"{self.gaps} gaps of {self.gap:g} are longer than the clip"
            raise AaspError(f"mixing: {text}; give a gap of at most {1 / self.gaps:.3g}")


def check_partners(clips: int, processes: int) -> None:
    """Check that every process has a clip to mix each of its clips with.

    Args:
        clips: clips of a batch of all processes.
        processes: number of processes.

    Raises:
        AaspError: a process has a single clip.
    """
    if clips < 2 * processes:
        text = "a clip for each process, which leaves none to mix it with"
        raise AaspError(f"data.batch is {clips}: {text}; give {2 * processes} or more")


def drawn_partners(count: int) -> Tensor:
    """The index of each clip's partner, another clip, shape (count,), on the host: the batch is rotated (ours)."""
    return (torch.arange(count) + int(torch.randint(1, count, ()))) % count


def mixed_with(clips: Clips, partner_B: Tensor, config: MixingConfig, patch: int) -> tuple[Clips, Tensor]:
    """A batch followed by its mixtures: clip b with clip `partner_B[b]`, each as long as clip b.

    After the partner's end, and in the gaps, which are drawn for each clip, the clip is unchanged.

    Args:
        clips: the batch.
        partner_B: indices of clips, shape (B,), on the host.
        config: the gaps.
        patch: frames of a patch.

    Returns:
        The clips and their mixtures; which patches of a clip are mixed, boolean, shape (B, N).
    """
    mel_BTM, (columns, subbands) = clips.mel, clips.grid
    mixed_BG = ~_gaps(len(mel_BTM), columns, config)
    frame_T = torch.arange(mel_BTM.shape[1])
    valid_BT = frame_T < clips.frames[:, None]
    both_BT = valid_BT & valid_BT[partner_B] & mixed_BG.repeat_interleave(patch, 1)[:, : len(frame_T)]
    other_BTM = mel_BTM[copied(partner_B, mel_BTM.device)]
    both_BT1 = copied(both_BT, mel_BTM.device)[..., None]
    mixed_BTM = torch.where(both_BT1, torch.maximum(mel_BTM, other_BTM), mel_BTM)
    shorter_B = torch.minimum(clips.columns, clips.columns[partner_B])
    mixed_BG = mixed_BG & (torch.arange(columns) < shorter_B[:, None])
    valid = None if clips.valid is None else clips.valid.repeat(2, 1)
    mel = torch.cat([mel_BTM, mixed_BTM])
    both = Clips(mel, clips.grid, clips.columns.repeat(2), valid, clips.frames.repeat(2))
    return both, copied(mixed_BG.repeat_interleave(subbands, 1), mel.device)


def mixed_parts(clips: Clips, mixed_BN: Tensor, partner_B: Tensor) -> Clips:
    """Each clip's partner, of which only the patches in the mixture are valid; `clips` may have mixtures after them."""
    mel = clips.mel[copied(partner_B, clips.mel.device)]
    return Clips(mel, clips.grid, clips.columns[partner_B], mixed_BN, clips.frames[partner_B])


def mean_of_sources(own_BND: Tensor, partner_BND: Tensor, mixed_BN: Tensor) -> Tensor:
    """The mean of each clip's targets and its partner's, (B, N, D); where they are not mixed, the clip's own."""
    return torch.where(mixed_BN[..., None], 0.5 * (own_BND + partner_BND), own_BND)


def _gaps(clips: int, columns: int, config: MixingConfig) -> Tensor:
    """Time patches in a gap, boolean, (B, G); every position of gaps that don't overlap is equally likely."""
    length = int(config.gap * columns)
    room = columns - config.gaps * length
    order_BK = torch.rand(clips, room + config.gaps).argsort(1)[:, : config.gaps].sort(1).values
    start_BK = order_BK + torch.arange(config.gaps) * (length - 1)
    column_G = torch.arange(columns)
    return ((column_G >= start_BK[..., None]) & (column_G < start_BK[..., None] + length)).any(1)
