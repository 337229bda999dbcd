"""What training makes of clips, against plain numpy: mixtures, parts, and windows of clips longer than its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aasp.evaluate.finetune.augment import AugmentConfig, Mix, augmented, embed_part
from aasp.evaluate.finetune.data import Finetuning
from aasp.evaluate.finetune.recipe import FinetuneRecipe
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


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    length = torch.tensor([8_000, 6_000, 10_240, 3_000])
    wave = 0.1 * torch.randn(4, 10_240, generator=generator) * (torch.arange(10_240) < length[:, None])
    return {"wave": wave, "length": length, "target": torch.eye(3)[torch.arange(4) % 3]}


def test_mixing_by_hand() -> None:
    torch.manual_seed(0)
    mix = Mix.draw(500, 0.8)
    assert mix.weight_B.min() >= 0.5 and mix.weight_B.max() <= 1 and mix.weight_B.mean() < 0.9
    assert sorted(mix.partner_B.tolist()) == list(range(500))
    values = np.random.default_rng(0).random((500, 2, 3))
    mixed = mix(torch.from_numpy(values)).numpy()
    for row, (weight, partner) in enumerate(zip(mix.weight_B.tolist(), mix.partner_B.tolist(), strict=True)):
        np.testing.assert_allclose(mixed[row], weight * values[row] + (1 - weight) * values[partner], rtol=1e-6)
    lengths = torch.arange(500)
    longer = [max(row, partner) for row, partner in enumerate(mix.partner_B.tolist())]
    assert mix.longer(lengths).tolist() == longer


def test_mixup_mixes_log_mels_and_labels_alike(encoder: AudioEncoder) -> None:
    given = batch()
    config = AugmentConfig(mixup=1.0)
    torch.manual_seed(3)
    mel, frames, target = augmented(encoder, config, given["wave"], given["length"], given["target"])
    torch.manual_seed(3)
    torch.rand(())
    mix = Mix.draw(4, config.mixup_alpha)
    assert torch.equal(target, mix(given["target"])) and target.sum(1).allclose(torch.ones(4))
    plain, plain_frames = encoder.frontend(given["wave"], given["length"])
    assert torch.equal(mel, mix(plain)) and torch.equal(frames, mix.longer(plain_frames))


def test_mixup_and_its_absence_are_drawn_for_a_batch(encoder: AudioEncoder) -> None:
    given, whole = batch(), 0
    torch.manual_seed(0)
    for _ in range(60):
        target = augmented(encoder, AugmentConfig(mixup=0.5), given["wave"], given["length"], given["target"])[2]
        whole += torch.equal(target, given["target"])
    assert 15 <= whole <= 45


def test_patchout_of_nothing_is_the_whole_pass(encoder: AudioEncoder) -> None:
    given = batch()
    mel, frames = encoder.frontend(given["wave"], given["length"])
    with torch.no_grad():
        stages, valid = embed_part(encoder, mel, frames, 0.0, layers=True)
        found = encoder.embed(mel, frames, layers=True)
    assert torch.equal(valid, found.valid) and len(stages) == len(found.stages) == 3
    for (tokens, cls), (whole, whole_cls) in zip(stages, found.stages, strict=True):
        mask = valid.repeat_interleave(encoder.stem.subbands, dim=1)[..., None]
        torch.testing.assert_close(tokens * mask, whole * mask, rtol=0, atol=1e-5)
        torch.testing.assert_close(cls, whole_cls, rtol=0, atol=1e-5)


def test_patchout_keeps_true_positions_and_drops_padding_first(
    encoder: AudioEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    wave, length = 0.1 * torch.randn(3, 10_240), torch.tensor([10_240, 10_240, 5_360])
    mel, frames = encoder.frontend(wave * (torch.arange(10_240) < length[:, None]), length)
    subbands, (columns, _) = encoder.stem.subbands, encoder.stem.grid(mel.shape[1])
    assert columns == 4 and encoder.stem.valid_patches(frames, mel.shape[1])[2].sum() == 2 * subbands
    whole = encoder.stem(mel) + encoder.positions(mel.shape[1], mel.device)
    whole = whole.unflatten(1, (columns, subbands))
    seen: list[Tensor] = []
    masks: list[Tensor | None] = []

    def taken(tokens: Tensor, valid: Tensor | None, layers: bool) -> list[tuple[Tensor, Tensor]]:
        seen.append(tokens)
        masks.append(valid)
        return [(tokens, tokens[:, 0])]

    monkeypatch.setattr(encoder, "encode_tokens", taken)
    kept: set[tuple[int, ...]] = set()
    for _ in range(40):
        _, valid = embed_part(encoder, mel, frames, 0.5, layers=False)
        assert valid.all(), "two of four patches are seen, and the short clip has two"
        for clip, tokens in enumerate(seen[-1].unflatten(1, (2, subbands))):
            places = tuple(next(g for g in range(columns) if torch.equal(column, whole[clip, g])) for column in tokens)
            assert places[0] < places[1]
            assert places == (0, 1) or clip < 2
            kept.add(places)
    assert len(kept) == 6, "every pair of patches is seen"


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
