"""SpecAugment: one stretch of frames, one of bins, within their shares; every other cell as it was."""

from __future__ import annotations

import pytest
import torch

from aasp.features.augment import spec_augment

FRAMES = torch.tensor([30, 18, 1] * 200)


def stretches(masked: torch.Tensor) -> tuple[int, int]:
    """Length and number of stretches of True."""
    edges = torch.diff(masked.int(), prepend=torch.zeros(1, dtype=torch.int))
    return int(masked.sum()), int((edges == 1).sum())


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_masks_are_single_stretches_within_their_share(share: float) -> None:
    torch.manual_seed(0)
    mel = torch.rand(len(FRAMES), 30, 10) + 1
    mel = mel * (torch.arange(30) < FRAMES[:, None])[..., None]
    out = spec_augment(mel, FRAMES, share)
    longest = {frames: 0 for frames in (30, 18, 1)}
    most_bins = 0
    for before, after, frames in zip(mel, out, FRAMES.tolist(), strict=True):
        gone = after[:frames] == 0
        gone_frames, gone_bins = gone.all(1), gone.all(0)
        if not gone.all():
            assert torch.equal(gone, gone_frames[:, None] | gone_bins[None]), "whole frames and whole bins"
            for masked, extent in ((gone_frames, frames), (gone_bins, 10)):
                length, pieces = stretches(masked)
                assert length <= share * extent and pieces <= 1
            longest[frames] = max(longest[frames], int(gone_frames.sum()))
            most_bins = max(most_bins, int(gone_bins.sum()))
        assert torch.equal(after[:frames][~gone], before[:frames][~gone])
        assert not after[frames:].any()
    if share == 0.25:
        assert longest == {30: 7, 18: 4, 1: 0} and most_bins == 2, "as long as allowed, and no longer"
    if share == 0.0:
        assert torch.equal(out, mel)


def test_stretches_lie_anywhere() -> None:
    torch.manual_seed(0)
    out = spec_augment(torch.ones(600, 30, 10), torch.full((600,), 30), 0.5)
    masked = (out == 0).all(2)
    assert masked.any(0).all(), "every frame is hidden in some clip"
    assert masked[:, 0].float().mean() < masked[:, 15].float().mean()
