"""Long audio: windows of clips, whole or some of their time patches, joined."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.model.pooling import pool
from aasp.model.positions import Places, positions
from aasp.model.windows import encode_windows
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig

PATCH, WINDOW = 16, 4  # frames of a patch; time patches of the encoder's window of 0.64 s


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=2, heads=2)
    return AudioEncoder(AudioEncoderConfig(stem=ConvConfig(), encoder=size, window_seconds=0.64)).eval()


def beside(
    encoder: AudioEncoder, mel: Tensor, frames: Tensor, patchout: float, layers: bool
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Windows side by side, as a training sees them."""
    columns = [encoder.stem.grid(count)[0] for count in frames.tolist()]
    return encode_windows(encoder, mel, columns, layers=layers, overlap=False, patchout=patchout, batch=None)


def log_mels(encoder: AudioEncoder, *samples: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    lengths = torch.tensor(samples)
    wave = 0.1 * torch.randn(len(samples), max(samples)) * (torch.arange(max(samples)) < lengths[:, None])
    return encoder.frontend(wave, lengths)


@torch.no_grad()
def test_windows_lie_side_by_side_and_are_encoded_by_themselves(encoder: AudioEncoder) -> None:
    """Ten time patches in windows of 4, 4 and 2, by hand."""
    mel, frames = log_mels(encoder, 160 * (10 * PATCH) + 240)
    stages, valid = beside(encoder, mel, frames, 0.0, layers=True)
    by_hand = [encoder.encode(mel[:, s * PATCH : (s + WINDOW) * PATCH], None, layers=True) for s in (0, 4, 8)]
    assert len(stages) == 4 and valid.tolist() == [[True] * 10]
    for layer, (tokens, cls) in enumerate(stages):
        expected = torch.cat([window[layer][0] for window in by_hand], dim=1)
        torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-5)
        averaged = sum(share * window[layer][1] for share, window in zip((0.4, 0.4, 0.2), by_hand, strict=True))
        torch.testing.assert_close(cls, averaged, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "flat+std"])
def test_padding_never_changes_the_outputs_of_windows(pooling: str, encoder: AudioEncoder) -> None:
    samples = (4_000, 10_240, 16_500, 33_000)
    mel, frames = log_mels(encoder, *samples)
    subbands = encoder.stem.subbands
    together = beside(encoder, mel, frames, 0.0, layers=False)
    for b, own in enumerate(frames.tolist()):
        alone = beside(encoder, mel[b : b + 1, :own], frames[b : b + 1], 0.0, layers=False)
        whole, single = (pool(*stages[-1], subbands, valid, pooling) for stages, valid in (together, alone))
        torch.testing.assert_close(whole[b], single[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_window_loses_time_patches_and_padding_first(encoder: AudioEncoder) -> None:
    mel, frames = log_mels(encoder, 20_720, 15_600)  # two windows of four time patches; four and two of them
    whole, _ = beside(encoder, mel, frames, 0.0, layers=True)
    columns = whole[0][0].unflatten(1, (2, WINDOW, -1))  # the stem's tokens and their positions
    kept: set[tuple[int, int, tuple[int, ...]]] = set()
    for _ in range(60):
        stages, valid = beside(encoder, mel, frames, 0.5, layers=True)
        assert valid.shape == (2, 8) and valid.sum() == 8
        read = stages[0][0].unflatten(1, (2, WINDOW, -1))
        for clip, window in ((0, 0), (0, 1), (1, 0), (1, 1)):
            seen = valid.unflatten(1, (2, WINDOW))[clip, window]
            torch.testing.assert_close(read[clip, window][seen], columns[clip, window][seen], rtol=0, atol=1e-5)
            assert not read[clip, window][~seen].any(), "what was not seen is zero"
            places = tuple(seen.nonzero().flatten().tolist())
            assert len(places) == 2 and ((clip, window) != (1, 1) or places == (0, 1))
            kept.add((clip, window, places))
    assert len(kept) == 3 * 6 + 1, "every pair of time patches is seen"


@torch.no_grad()
@pytest.mark.parametrize("taps", [16, 48])
def test_patchout_does_not_change_what_a_stem_of_wide_context_sees(taps: int) -> None:
    torch.manual_seed(0)
    size = EncoderConfig(width=16, depth=1, heads=2)
    model = AudioEncoder(AudioEncoderConfig(stem=AaPEConfig(taps=taps, states=4), encoder=size, window_seconds=0.64))
    model.stem.fuse.weight.add_(0.1 * torch.randn_like(model.stem.fuse.weight))
    mel, frames = log_mels(model, 10_000)
    tokens, cls = beside(model, mel, frames, 0.0, layers=False)[0][-1]
    found = model.embed(mel, frames)
    torch.testing.assert_close(tokens, found.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(cls, found.cls, rtol=0, atol=1e-5)


def test_every_window_that_was_seen_is_learned_from(encoder: AudioEncoder) -> None:
    mel, frames = log_mels(encoder, 20_720)
    mel.requires_grad_(True)
    tokens, _ = beside(encoder, mel, frames, 0.0, layers=False)[0][-1]
    tokens.square().sum().backward()
    assert mel.grad is not None and (mel.grad.abs().amax(-1) > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("overlap", [True, False])
def test_how_many_windows_are_encoded_at_a_time_changes_nothing(overlap: bool, encoder: AudioEncoder) -> None:
    mel, frames = log_mels(encoder, 60_000, 33_000, 9_000)
    columns = [encoder.stem.grid(count)[0] for count in frames.tolist()]
    whole = encode_windows(encoder, mel, columns, layers=True, overlap=overlap, batch=None)
    for size in (1, 5):
        some = encode_windows(encoder, mel, columns, layers=True, overlap=overlap, batch=size)
        assert torch.equal(some[1], whole[1])
        for (tokens, cls), (all_tokens, all_cls) in zip(some[0], whole[0], strict=True):
            torch.testing.assert_close(tokens, all_tokens, rtol=0, atol=1e-5)
            torch.testing.assert_close(cls, all_cls, rtol=0, atol=1e-5)


@torch.no_grad()
def test_where_windows_overlap_tokens_are_averaged(encoder: AudioEncoder) -> None:
    """Seven time patches in windows of 4, 4 and 3, by hand."""
    mel, _ = log_mels(encoder, 160 * (7 * PATCH) + 240)
    (stage,), valid = encode_windows(encoder, mel, [7])
    windows = [encoder.encode(mel[:, s * PATCH : (s + WINDOW) * PATCH])[-1] for s in (0, 2, 4)]
    columns = [tokens.unflatten(1, (-1, encoder.stem.subbands)) for tokens, _ in windows]
    expected = torch.zeros(1, 7, *columns[0].shape[2:])
    for first, one in zip((0, 2, 4), columns, strict=True):
        expected[:, first : first + one.shape[1]] += one
    expected[:, 2:6] /= 2
    assert valid.all()
    torch.testing.assert_close(stage[0], expected.flatten(1, 2), rtol=0, atol=1e-5)
    averaged = sum(share * cls for share, (_, cls) in zip((4 / 11, 4 / 11, 3 / 11), windows, strict=True))
    torch.testing.assert_close(stage[1], averaged, rtol=0, atol=1e-5)


def test_patchout_of_nothing_is_the_whole_pass(encoder: AudioEncoder) -> None:
    mel, frames = log_mels(encoder, 10_000, 7_000)
    with torch.no_grad():
        stages, valid = beside(encoder, mel, frames, 0.0, layers=True)
        found = encoder.embed(mel, frames, layers=True)
    assert torch.equal(valid, found.valid)
    for (tokens, cls), (whole, whole_cls) in zip([*stages[:-2], stages[-1]], found.stages, strict=True):
        torch.testing.assert_close(tokens, whole, rtol=0, atol=1e-5)
        torch.testing.assert_close(cls, whole_cls, rtol=0, atol=1e-5)


def test_patchout_keeps_true_positions_and_drops_padding_first(
    encoder: AudioEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    wave, length = 0.1 * torch.randn(3, 10_240), torch.tensor([10_240, 10_240, 5_360])
    mel, frames = encoder.frontend(wave * (torch.arange(10_240) < length[:, None]), length)
    subbands, (columns, _) = encoder.stem.subbands, encoder.stem.grid(mel.shape[1])
    assert columns == 4 and encoder.stem.valid_patches(frames, mel.shape[1])[2].sum() == 2 * subbands
    whole = encoder.encode(mel, layers=True)[0][0].unflatten(1, (columns, subbands))
    seen: list[Tensor] = []

    def taken(tokens: Tensor, places: Places, valid: Tensor | None, layers: bool) -> list[tuple[Tensor, Tensor]]:
        seen.append(tokens + positions(places, 16))
        return [(tokens, tokens[:, 0])]

    monkeypatch.setattr(encoder, "encode_tokens", taken)
    kept: set[tuple[int, ...]] = set()
    for _ in range(40):
        _, valid = beside(encoder, mel, frames, 0.5, layers=False)
        assert valid.sum(1).tolist() == [2, 2, 2], "two of four patches are seen, and the short clip has two"
        for clip, tokens in enumerate(seen[-1].unflatten(1, (2, subbands))):
            places = tuple(next(g for g in range(columns) if torch.equal(column, whole[clip, g])) for column in tokens)
            assert places[0] < places[1]
            assert places == (0, 1) or clip < 2
            kept.add(places)
    assert len(kept) == 6, "every pair of patches is seen"
