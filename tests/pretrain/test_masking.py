"""Masks: exact counts, whatever the scheme and the lengths."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.encoding import as_clips, encode_masked, encode_visible
from aasp.pretrain.masking import MaskingConfig, draw_masks
from aasp.stems import STEMS

GRID = (16, 8)


@pytest.mark.parametrize("scheme", ["inverse-block", "random", "structured"])
@pytest.mark.parametrize("predicted", [1.0, 0.25])
def test_every_view_sees_its_exact_share_of_its_own_clip(scheme: str, predicted: float) -> None:
    columns = torch.tensor([16, 5, 1, 9])
    masks = draw_masks(MaskingConfig(views=6, keep_ratio=0.3, scheme=scheme, predicted=predicted), GRID, columns)
    for b, patches in enumerate((columns * 8).tolist()):
        seen = round(0.3 * patches)
        for v in range(6):
            visible = masks.visible[b, v][masks.visible_valid[b, v]].tolist()
            hidden = masks.hidden[b, v][masks.hidden_valid[b, v]].tolist()
            assert len(set(visible)) == len(visible) == seen
            assert len(set(hidden)) == len(hidden) == round(predicted * (patches - seen))
            assert not set(visible) & set(hidden)
            assert max(visible + hidden) < patches, "patches beyond the clip must not be drawn"


def test_views_differ() -> None:
    masks = draw_masks(MaskingConfig(views=8), GRID, torch.tensor([16]))
    assert len({tuple(sorted(view)) for view in masks.visible[0].tolist()}) == 8


def neighbours(scheme: str) -> float:
    """Share of a visible patch's four neighbours that are visible too."""
    masks = draw_masks(MaskingConfig(views=64, scheme=scheme), GRID, torch.tensor([16] * 4))
    seen = torch.zeros(4, 64, 128).scatter(2, masks.visible, 1.0).unflatten(2, GRID)
    pairs = (seen[:, :, 1:] * seen[:, :, :-1]).sum() + (seen[..., 1:] * seen[..., :-1]).sum()
    return float(2 * pairs / seen.sum() / 4)


def test_schemes_have_their_shapes() -> None:
    torch.manual_seed(0)
    assert neighbours("random") < 0.25 < 0.5 < neighbours("inverse-block")
    masks = draw_masks(MaskingConfig(views=32, keep_ratio=0.25, scheme="structured"), GRID, torch.tensor([16]))
    for view in masks.visible[0]:
        whole_columns = len(set((view // 8).tolist())) == 4
        whole_subbands = len(set((view % 8).tolist())) == 2
        assert whole_columns != whole_subbands


def test_predicted_patches_are_a_fair_sample_of_the_hidden_ones() -> None:
    """Every patch is predicted equally often, also next to a kept block, so that the loss is unbiased."""
    torch.manual_seed(0)
    config = MaskingConfig(views=512, predicted=0.2, scheme="random")
    masks = draw_masks(config, GRID, torch.tensor([16]))
    count = torch.bincount(masks.hidden.flatten(), minlength=128).float()
    expected = count.sum() / 128
    assert ((count - expected) ** 2 / expected).sum() < 200  # chi-square, 127 degrees of freedom


def test_one_patch_is_always_seen_and_one_predicted() -> None:
    masks = draw_masks(MaskingConfig(keep_ratio=0.01), (1, 8), torch.tensor([1]))
    assert masks.visible.shape[-1] == 1 and masks.hidden.shape[-1] == 7


def test_kept_blocks_reach_the_edges() -> None:
    """As in EAT's code; blocks inside the grid alone left the first column visible in a sixth of the usual share."""
    torch.manual_seed(0)
    masks = draw_masks(MaskingConfig(views=4_000), (64, 8), torch.tensor([64]))
    share = (torch.bincount(masks.visible.flatten(), minlength=512) / 4_000).unflatten(0, (64, 8))
    assert share.mean() == pytest.approx(0.2, abs=0.01)
    assert share[0].mean() > 0.11 and share[:, 0].mean() > 0.13, "0.13 and 0.15 there"
    assert share[:, 3:5].mean() < 0.25


def test_a_clip_of_one_patch_has_nothing_to_predict() -> None:
    masks = draw_masks(MaskingConfig(views=2, scheme="random"), (6, 1), torch.tensor([1, 6]))
    assert masks.visible_valid[0].sum(1).tolist() == [1, 1] and not masks.hidden_valid[0].any()
    masks = draw_masks(MaskingConfig(views=2, scheme="random"), (1, 1), torch.tensor([1]))
    assert masks.hidden.shape == (1, 2, 1) and not masks.hidden_valid.any()


@pytest.mark.parametrize("name", ["aape", "lowpass", "polyphase", "s4d", "mamba", "conv"])
def test_short_clips_of_a_batch_see_nothing_of_their_hidden_patches(name: str) -> None:
    """Masks are padded to the longest clip; what pads them must not count as visible around a patch."""
    torch.manual_seed(0)
    taps = {"taps": 16} if name == "aape" else {}
    config = AudioEncoderConfig(stem=STEMS.find(name)(patch=(8, 32), **taps), encoder=EncoderConfig(16, 1, 2))
    model, token = AudioEncoder(config).eval(), torch.randn(16)
    with torch.no_grad():
        for parameter in model.stem.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    clips = as_clips(model, torch.randn(3, 160, 128), torch.tensor([160, 80, 72]))
    masks = draw_masks(MaskingConfig(views=1, scheme="random"), clips.grid, clips.columns)
    seen = torch.zeros(3, 1, clips.grid[0] * clips.grid[1], dtype=torch.bool)
    seen = seen.scatter(2, masks.visible, masks.visible_valid)[:, 0].unflatten(1, clips.grid)
    other = torch.where(seen.repeat_interleave(8, 1).repeat_interleave(32, 2), clips.mel, torch.randn_like(clips.mel))
    with torch.no_grad():
        both = [replace(clips, mel=mel) for mel in (clips.mel, other)]
        visible = [encode_visible(model, one, masks.visible, masks.visible_valid) for one in both]
        masked = [encode_masked(model, one, masks, token) for one in both]
    assert not torch.equal(clips.mel, other)
    there = torch.cat([torch.ones(3, 1, dtype=torch.bool), masks.visible_valid[:, 0]], dim=1)
    torch.testing.assert_close(visible[0][there], visible[1][there], atol=1e-5, rtol=0)
    torch.testing.assert_close(masked[0], masked[1], atol=1e-5, rtol=0)
