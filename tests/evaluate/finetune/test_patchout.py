"""What the encoder sees in training: parts of clips, and windows of clips that are longer than its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from aasp.evaluate.finetune.patchout import embed_part
from aasp.evaluate.finetune.recipe import FinetuneRecipe
from aasp.evaluate.finetune.request import Finetuning
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.pooling import pool
from aasp.stems.aape import AaPEConfig

PATCH, WINDOW = 16, 4  # frames of a patch; time patches of the encoder's window of 0.64 s


def log_mels(encoder: AudioEncoder, *samples: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    lengths = torch.tensor(samples)
    wave = 0.1 * torch.randn(len(samples), max(samples)) * (torch.arange(max(samples)) < lengths[:, None])
    return encoder.frontend(wave, lengths)


@torch.no_grad()
def test_windows_lie_side_by_side_and_are_encoded_by_themselves(encoder: AudioEncoder) -> None:
    """Ten time patches in windows of 4, 4 and 2, by hand."""
    mel, frames = log_mels(encoder, 160 * (10 * PATCH) + 240)
    stages, valid = embed_part(encoder, mel, frames, 0.0, layers=True)
    by_hand = [encoder.encode(mel[:, s * PATCH : (s + WINDOW) * PATCH], None, layers=True) for s in (0, 4, 8)]
    by_hand = [[*window[:-2], window[-1]] for window in by_hand]
    assert len(stages) == 3 and valid.tolist() == [[True] * 10 + [False] * 2]
    subbands = encoder.stem.subbands
    for layer, (tokens, cls) in enumerate(stages):
        expected = torch.cat([window[layer][0] for window in by_hand], dim=1)
        torch.testing.assert_close(tokens[:, : 10 * subbands], expected, rtol=0, atol=1e-5)
        averaged = sum(share * window[layer][1] for share, window in zip((0.4, 0.4, 0.2), by_hand, strict=True))
        torch.testing.assert_close(cls, averaged, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "flat+std"])
def test_padding_never_changes_what_windows_say(pooling: str, encoder: AudioEncoder) -> None:
    samples = (4_000, 10_240, 16_500, 33_000)
    mel, frames = log_mels(encoder, *samples)
    subbands = encoder.stem.subbands
    together = embed_part(encoder, mel, frames, 0.0, layers=False)
    for b, own in enumerate(frames.tolist()):
        alone = embed_part(encoder, mel[b : b + 1, :own], frames[b : b + 1], 0.0, layers=False)
        whole, single = (pool(*stages[-1], subbands, valid, pooling) for stages, valid in (together, alone))
        torch.testing.assert_close(whole[b], single[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_window_loses_time_patches_and_padding_first(encoder: AudioEncoder) -> None:
    mel, frames = log_mels(encoder, 20_720, 15_600)  # two windows of four time patches; four and two of them
    whole, _ = embed_part(encoder, mel, frames, 0.0, layers=True)
    columns = whole[0][0].unflatten(1, (2, WINDOW, -1))  # the stem's tokens and their positions
    kept: set[tuple[int, int, tuple[int, ...]]] = set()
    for _ in range(60):
        stages, valid = embed_part(encoder, mel, frames, 0.5, layers=True)
        assert valid.shape == (2, 4) and valid.all()
        for clip, window in ((0, 0), (0, 1), (1, 0), (1, 1)):
            seen = stages[0][0].unflatten(1, (2, 2, -1))[clip, window]
            same = [torch.isclose(columns[clip, window], one, rtol=0, atol=1e-5).flatten(1).all(1) for one in seen]
            places = tuple(int(one.nonzero()) for one in same)
            assert places[0] < places[1] and ((clip, window) != (1, 1) or places == (0, 1))
            kept.add((clip, window, places))
    assert len(kept) == 3 * 6 + 1, "every pair of time patches is seen"


@torch.no_grad()
@pytest.mark.parametrize("taps", [16, 48])
def test_a_stem_that_looks_beyond_its_patch_sees_what_it_does_without_patchout(taps: int) -> None:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=1, heads=2)
    model = AudioEncoder(AudioEncoderConfig(stem=AaPEConfig(taps=taps, states=4), encoder=size, window_seconds=0.64))
    model.stem.fuse.weight.add_(0.1 * torch.randn_like(model.stem.fuse.weight))
    mel, frames = log_mels(model, 10_000)
    tokens, cls = embed_part(model, mel, frames, 0.0, layers=False)[0][-1]
    found = model.embed(mel, frames)
    torch.testing.assert_close(tokens, found.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(cls, found.cls, rtol=0, atol=1e-5)


def test_every_window_that_was_seen_is_learned_from(encoder: AudioEncoder) -> None:
    mel, frames = log_mels(encoder, 20_720)
    mel.requires_grad_(True)
    tokens, _ = embed_part(encoder, mel, frames, 0.0, layers=False)[0][-1]
    tokens.square().sum().backward()
    assert mel.grad is not None and (mel.grad.abs().amax(-1) > 0).all()


@pytest.mark.parametrize(
    ("window", "crop", "expected"), [("crop", 1.0, 1.28), ("crop", 0.3, 0.64), ("pretrained", 1.0, 0.64)]
)
def test_the_window_is_kept_or_holds_the_whole_crop(
    window: Any, crop: float, expected: float, encoder: AudioEncoder, recipe: FinetuneRecipe, tones: Any
) -> None:
    asked = Finetuning(encoder, "model", tones(), replace(recipe, window=window, crop_seconds=crop))
    config = asked.classifier_config()
    assert config.encoder.window_seconds == pytest.approx(expected) and config.clip_seconds == crop
    mel, _ = log_mels(encoder, round(16_000 * crop))
    assert window == "pretrained" or encoder.stem.grid(mel.shape[1])[0] <= config.encoder.window_patches
