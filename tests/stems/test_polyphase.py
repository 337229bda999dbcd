"""Shift-invariant pooling: trained low-passes and the choice where patches begin, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.config import to_dict
from aasp.errors import AaspError
from aasp.stems.lowpass import LowpassConfig, LowpassStem
from aasp.stems.polyphase import PolyphaseConfig, PolyphaseStem

MELS, FRAMES = 32, 96


@torch.no_grad()
def test_trained_filters_begin_as_the_fixed_one_and_blur_each_bin_with_its_own() -> None:
    torch.manual_seed(0)
    stem = LowpassStem(8, MELS, LowpassConfig(taps=32, trained=True))
    fixed = LowpassStem(8, MELS, LowpassConfig(taps=32))
    fixed.project.load_state_dict(stem.project.state_dict())
    mel = torch.randn(1, FRAMES, MELS)
    torch.testing.assert_close(stem(mel), fixed(mel), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fixed.filters, stem.filters[:1])
    stem.logits.copy_(torch.randn(16, 17))
    weights = np.exp(stem.logits.numpy())
    blurred = np.zeros((FRAMES, MELS))
    for t in range(FRAMES):
        for m in range(MELS):
            near = [k for k in range(-8, 9) if 0 <= t + k < FRAMES]
            share = weights[m % 16, [k + 8 for k in near]]
            blurred[t, m] = share @ mel[0, [t + k for k in near], m].numpy() / share.sum()
    expected = stem.project(stem.cut(torch.from_numpy(blurred).float()[None])).flatten(1, 2)
    torch.testing.assert_close(stem(mel), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stem(torch.ones_like(mel)), fixed(torch.ones_like(mel)), rtol=1e-4, atol=1e-5)
    assert "trained" not in to_dict(LowpassConfig()), "documents of before stay what they were"


def test_filters_learn() -> None:
    stem = LowpassStem(8, MELS, LowpassConfig(trained=True))
    stem(torch.randn(2, FRAMES, MELS)).square().sum().backward()
    assert stem.logits.grad.abs().amin(1).max() > 0 and [n for n, _ in stem.named_parameters()].count("logits") == 1


@torch.no_grad()
@pytest.mark.parametrize("taps", [32, 48])
def test_the_offset_of_the_largest_norm_is_taken_in_plain_numpy(taps: int) -> None:
    torch.manual_seed(0)
    stem = PolyphaseStem(8, MELS, PolyphaseConfig(taps=taps))
    mel = torch.randn(3, FRAMES, MELS) * torch.rand(3, FRAMES, 1).pow(4)
    weight, bias = stem.project.weight.numpy(), stem.project.bias.numpy()
    half = (taps - 32) // 2
    hann = 1 + np.cos(np.pi * np.arange(-half, half + 1) / (half + 1))
    chosen = set()
    for clip, tokens in zip(mel.numpy(), stem(mel).numpy(), strict=True):
        track = np.zeros((FRAMES + 32, MELS))  # nothing beyond the clip's ends, where patches that are moved read
        for t in range(FRAMES):
            near = [k for k in range(-half, half + 1) if 0 <= t + k < FRAMES]
            share = hann[[k + half for k in near]]
            track[t + 16] = share @ clip[[t + k for k in near]] / share.sum()
        every = []
        for offset in (-8, -4, 0, 4):
            starts = [(16 + g * 16 + offset, f * 16) for g in range(6) for f in range(2)]
            every.append([weight @ track[t : t + 16, m : m + 16].ravel() + bias for t, m in starts])
        norms = np.square(every).sum((1, 2))
        chosen.add(int(norms.argmax()))
        np.testing.assert_allclose(tokens, every[norms.argmax()], rtol=1e-4, atol=1e-5)
    assert len(chosen) > 1
    measured = stem.diagnostics(mel)["offset_entropy"]
    assert 0 < measured <= 1


@torch.no_grad()
def test_a_sound_that_comes_later_by_an_offset_gives_the_same_tokens() -> None:
    torch.manual_seed(0)
    stem, sound = PolyphaseStem(8, MELS, PolyphaseConfig(offsets=8)), torch.randn(1, 40, MELS)
    found = []
    for later in range(0, 16, 2):
        tokens = stem(torch.nn.functional.pad(sound, (0, 0, 32 + later, 56 - later)))[0].unflatten(0, (-1, 2))
        loud = tokens.abs().sum((1, 2)) > 1e-6  # time patches where anything is: the bias is zero at first
        found.append(tokens[loud])
    for one in found[1:]:
        torch.testing.assert_close(one, found[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offsets": 3}, "offsets 3 and 2 must divide the patch's 16 frames; try 2 or 4"),
        ({"offsets": 1}, "offsets is 1; give a number of at least 2"),
        ({"taps": 16}, "taps 16 holds no patch that is moved by up to half of its 16 frames; try 32, or 64"),
        ({"trained": True}, "taps 32 leaves no filter that could be trained; try 64"),
    ],
)
def test_impossible_settings_are_one_line(fields: dict[str, int], message: str) -> None:
    with pytest.raises(AaspError) as error:
        PolyphaseConfig(**fields)
    assert message in str(error.value) and "\n" not in str(error.value)


@torch.no_grad()
def test_padding_of_a_view_has_no_part_in_the_choice() -> None:
    torch.manual_seed(0)
    stem = PolyphaseStem(8, MELS)
    mel = torch.randn(16, FRAMES, MELS)
    visible = torch.stack([torch.randperm(12)[:3] for _ in mel])[:, None]
    padded = torch.cat([visible, visible[..., :1].expand(-1, -1, 5)], dim=-1)
    torch.testing.assert_close(stem.views(mel, padded)[:, :, :3], stem.views(mel, visible))
