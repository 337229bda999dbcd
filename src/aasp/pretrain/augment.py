"""Augmented views: each clip several times, randomly mixed, cropped and resized; and corrupted views.

Legend: B clips, V views, T frames, M mel bins; views are rows of the batch, those of one clip one after another.
Source: BYOL-A (Niizumi et al. 2021). Clips are mixed with others of the process's own batch (there: of a queue of 2,048
past ones), and views are normalised to the statistics before augmentation rather than to 0 and 1 (both ours).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aasp.config import check_range
from aasp.devices import copied
from aasp.errors import AaspError
from aasp.features.augment import mix_power, resized_crop
from aasp.pretrain.encoding import Clips
from aasp.pretrain.losses.valid import Gather, alone
from aasp.pretrain.masking import Masks


@dataclass(frozen=True)
class AugmentConfig:
    """How a view differs from its clip; lengths are relative to the clip's.

    Attributes:
        mixup: largest share of another clip's power that is mixed in; 0 for none.
        time: bounds of the length of the crop that is resized to the clip's; 1, 1 leaves time unchanged.
        frequency: the same for mel bins.
        virtual: length of the zero-padded clip from which the crop in time is taken.
    """

    mixup: float = 0.4
    time: tuple[float, float] = (0.6, 1.5)
    frequency: tuple[float, float] = (0.6, 1.5)
    virtual: float = 1.5

    def __post_init__(self) -> None:
        check_range(self, "augment", "mixup", least=0, below=1)
        check_range(self, "augment", "time frequency")
        check_range(self, "augment", "virtual", least=1)
        for name in ("time", "frequency"):
            least, most = getattr(self, name)
            if least > most:
                raise AaspError(f"augment: {name} is {least:g},{most:g}; give the lower bound first")


def augmented(clips: Clips, config: AugmentConfig, gather: Gather, views: int = 2, segments: int = 1) -> Clips:
    """Random views of each clip, one after another, drawn with the generator of the clips' device.

    Args:
        clips: B clips, or segments of clips.
        config: how views differ.
        gather: see `Gather`; the statistics for normalisation are those of all processes.
        views: V, views per clip.
        segments: segments of each recording, one after another in `clips`; they are not mixed with each other.

    Returns:
        B * V clips.
    """
    pairs = repeated(clips, views)
    mel = pairs.mel
    if config.mixup:
        mel = _mixed(pairs, views * segments, config.mixup)
    if config.time != (1.0, 1.0):
        mel = resized_crop(mel, pairs.frames, config.virtual, *config.time)
    if config.frequency != (1.0, 1.0):
        bins = torch.full((len(mel),), mel.shape[2])
        mel = resized_crop(mel, bins, 1.0, *config.frequency, dim=2)
    inside = _inside(pairs)
    (mean, deviation), (was_mean, was_deviation) = (_statistics(x, inside, gather) for x in (mel, pairs.mel))
    pairs.mel = torch.where(inside, (mel - mean) / deviation * was_deviation + was_mean, 0.0)
    return pairs


def repeated(clips: Clips, views: int) -> Clips:
    """Each clip `views` times, one after another."""
    again = lambda x: x.repeat_interleave(views, dim=0)
    valid = None if clips.valid is None else again(clips.valid)
    return Clips(again(clips.mel), clips.grid, again(clips.columns), valid, again(clips.frames))


def swapped(x: Tensor) -> Tensor:
    """Swap the first and the second view of each clip, which lie one after another."""
    return x.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def corrupted(clips: Clips, masks: Masks, patch: tuple[int, int], gather: Gather = alone, segments: int = 1) -> Tensor:
    """The clips' log-mels, with hidden patches replaced by noise or by another recording's, with equal probability.

    A single recording is corrupted by noise.

    Args:
        clips: B clips, or segments of clips.
        masks: one view of each; hidden patches are corrupted.
        patch: frames and mel bins of a patch.
        gather: see `Gather`, for one process if omitted; the noise has the statistics of all processes' clips.
        segments: segments of each recording, one after another in `clips`.

    Source: group-masked model learning (Atito et al. 2021) corrupts with noise, zeros and other samples.
    """
    mel, count = clips.mel, len(clips.mel)
    shown = torch.zeros(count, clips.grid[0] * clips.grid[1], dtype=torch.bool, device=mel.device)
    shown = shown.scatter(1, masks.visible[:, 0], masks.visible_valid[:, 0]).unflatten(1, clips.grid)
    shown = shown.repeat_interleave(patch[0], 1)[:, : mel.shape[1]].repeat_interleave(patch[1], 2)
    inside = _inside(clips)
    mean, deviation = _statistics(mel, inside, gather)
    noise = mean + deviation * torch.randn_like(mel)
    coin, which = torch.rand(2, count, device=mel.device)
    other = _others(which, segments)
    noisy = (coin < 0.5) | (count == segments)
    replacement = torch.where(noisy[:, None, None] | ~inside[other], noise, mel[other])
    return torch.where(shown, mel, replacement * inside)


def _mixed(pairs: Clips, rows: int, most: float) -> Tensor:
    """Each view mixed with one of another recording, in frames that both have; a single recording stays unchanged.

    Args:
        pairs: the views; those of a recording lie one after another.
        rows: views of a recording.
        most: largest share.
    """
    mel, inside = pairs.mel, _inside(pairs)
    if len(mel) == rows:
        return mel
    share, which = torch.rand(2, len(mel), device=mel.device)
    other = _others(which, rows)
    share_BTM = (most * share)[:, None, None] * (inside & inside[other])
    return torch.where(share_BTM > 0, mix_power(mel, mel[other], share_BTM), mel)


def _others(which: Tensor, rows: int) -> Tensor:
    """For each row the index of the same row of another recording, chosen by a number in 0 to 1; shape (B,)."""
    count, row = len(which) // rows, torch.arange(len(which), device=which.device)
    return (row // rows + 1 + (which * (count - 1)).long()) % count * rows + row % rows


def _inside(clips: Clips) -> Tensor:
    """Whether a frame belongs to its clip and is not padding, boolean, shape (B, T, 1)."""
    frames = torch.arange(clips.mel.shape[1], device=clips.mel.device)
    return (frames < copied(clips.frames, clips.mel.device)[:, None])[..., None]


def _statistics(mel: Tensor, inside: Tensor, gather: Gather) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over all time-frequency bins of all processes' clips."""
    kept = mel * inside
    sums = torch.stack([inside.sum() * mel.shape[2], kept.sum(), kept.square().sum()])
    count, total, squares = gather(sums[None])[0].sum(0).unbind()
    mean = total / count
    return mean, (squares / count - mean.square()).clamp(min=1e-8).sqrt()
