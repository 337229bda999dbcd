"""SpecAugment: one stretch of frames, one of bins, within their shares; every other cell as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from aasp.features.augment import mix_power, resized_crop, spec_augment

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


def test_powers_are_mixed_in_their_shares() -> None:
    random = np.random.default_rng(0)
    mel, other = random.normal(size=(2, 3, 5, 4))
    share = random.uniform(0, 0.4, (3, 1, 1))
    expected = np.log((1 - share) * np.exp(mel) + share * np.exp(other))
    mixed = mix_power(*(torch.tensor(x) for x in (mel, other, share)))
    np.testing.assert_allclose(mixed, expected, rtol=1e-12)


@pytest.mark.parametrize(("dim", "virtual", "least", "most"), [(1, 1.5, 0.6, 1.5), (2, 1.0, 0.6, 1.5)])
def test_a_resized_crop_is_bicubic_with_aligned_corners(
    dim: int, virtual: float, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against torch's own interpolation of a stretch that is cut by hand, for each clip by itself."""
    generator = torch.Generator().manual_seed(0)
    extents, places = [30, 21, 30, 8], 30
    mel = torch.randn(4, places, 6, generator=generator)
    for k, extent in enumerate(extents):
        mel[k, extent:] = 0
    drawn = torch.rand(2, 4, 1, generator=generator)
    monkeypatch.setattr(torch, "rand", lambda *shape, device=None: drawn)
    given = mel if dim == 1 else mel.transpose(1, 2)
    out = resized_crop(given, torch.tensor(extents), virtual, least, most, dim)
    out = out if dim == 1 else out.transpose(1, 2)
    for k, extent in enumerate(extents):
        whole = int(virtual * extent)
        size = min(max(int((least + (most - least) * float(drawn[0, k])) * extent), 1), whole)
        first, margin = int(float(drawn[1, k]) * (whole - size + 1)), (whole - extent) // 2
        room = torch.zeros(whole, 6)
        room[margin : margin + extent] = mel[k, :extent]
        cut = room[first : first + size].T[None, :, :, None].expand(1, 6, size, 2)
        resized = functional.interpolate(cut, (extent, 2), mode="bicubic", align_corners=True)[0, :, :, 0].T
        torch.testing.assert_close(out[k, :extent], resized, rtol=1e-4, atol=1e-4)
        assert not out[k, extent:].any()
