"""Mixtures of the log-mels of a batch's clips.

Legend: B clips, T frames, M mel bins, N patches, D width.
Source: SSLAM (Alex et al. 2025): the element-wise maximum of two log-mels, except in two gaps of 240 of 1024 frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.config import check_range
from aasp.errors import AaspError
from aasp.pretrain.views import Clips


@dataclass(frozen=True)
class MixingConfig:
    """How a clip is mixed with another.

    Attributes:
        gaps: number of gaps, in which the clip is not mixed.
        gap: length of each gap as a share of the frames; gaps may overlap.
    """

    gaps: int = 2
    gap: float = 240 / 1024

    def __post_init__(self) -> None:
        check_range(self, "mixing", "gaps gap", least=0)
        check_range(self, "mixing", "gap", least=0, most=1)


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


def mixed_with(clips: Clips, partner_B: Tensor, config: MixingConfig) -> Clips:
    """A batch followed by its mixtures: clip b with clip `partner_B[b]`, each as long as clip b.

    After the partner's end, and in the gaps, which are drawn for each clip, the clip is unchanged.

    Args:
        clips: the batch.
        partner_B: indices of clips, shape (B,), on the host.
        config: the gaps.
    """
    mel_BTM, frames = clips.mel, clips.mel.shape[1]
    length = round(config.gap * frames)
    start_BK = torch.randint(frames - length + 1, (len(mel_BTM), config.gaps))
    frame_T = torch.arange(frames)
    alone_BT = ((frame_T >= start_BK[..., None]) & (frame_T < start_BK[..., None] + length)).any(1)
    valid_BT = frame_T < clips.frames[:, None]
    both_BT = (valid_BT & valid_BT[partner_B] & ~alone_BT).to(mel_BTM.device, non_blocking=True)
    mixed_BTM = torch.where(both_BT[..., None], torch.maximum(mel_BTM, mel_BTM[partner_B]), mel_BTM)
    valid = None if clips.valid is None else clips.valid.repeat(2, 1)
    return Clips(torch.cat([mel_BTM, mixed_BTM]), clips.grid, clips.columns.repeat(2), valid, clips.frames.repeat(2))


def mean_of_sources(target_BND: Tensor, clips: Clips, partner_B: Tensor) -> Tensor:
    """The mean of each clip's targets and its partner's, (B, N, D); after the partner's end, the clip's own."""
    if clips.valid is None:
        return (target_BND + target_BND[partner_B]) / 2
    there_BN1 = clips.valid[partner_B].to(target_BND.dtype)[..., None]
    return (target_BND + there_BN1 * target_BND[partner_B]) / (1 + there_BN1)
