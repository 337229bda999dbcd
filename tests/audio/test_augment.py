"""Waveform augmentation in training: gain, roll, noise; and nothing beyond a clip's end."""

from __future__ import annotations

import torch

from aasp.audio.augment import random_gain, random_noise, random_roll


def test_gains_fill_their_range_and_are_one_a_clip() -> None:
    torch.manual_seed(0)
    wave = torch.randn(500, 40)
    ratio = random_gain(wave, 6.0) / wave
    decibels = 20 * ratio.mean(1).log10()
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert decibels.abs().max() <= 6.001 and decibels.min() < -5.5 and decibels.max() > 5.5
    assert torch.equal(random_gain(wave, 0.0), wave)


def test_a_roll_turns_each_clip_within_its_valid_length() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([7, 20] * 200)
    place = torch.arange(20).expand(400, 20)
    wave = torch.where(place < lengths[:, None], place + 1.0, 0.0)
    shifts = []
    for before, after, length in zip(wave, random_roll(wave, lengths, 3), lengths.tolist(), strict=True):
        assert not after[length:].any()
        shift = next(s for s in range(-3, 4) if torch.equal(after[:length], before[:length].roll(s)))
        shifts.append(shift)
    assert set(shifts) == set(range(-3, 4)), "either way, as far as asked"


def test_a_roll_further_than_the_clip_is_long_goes_round() -> None:
    torch.manual_seed(0)
    wave = torch.arange(1.0, 6.0).repeat(50, 1)
    rolled = random_roll(wave, torch.full((50,), 5), 1000)
    assert torch.equal(rolled.sort(1).values, wave)
    assert len({tuple(row.tolist()) for row in rolled}) == 5


def test_noise_has_the_requested_ratio_and_ends_with_the_clip() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([4_000, 8_000] * 100)
    valid = torch.arange(8_000) < lengths[:, None]
    wave = torch.randn(200, 8_000) * torch.rand(200, 1) * valid
    noise = random_noise(wave, lengths, 10.0) - wave
    assert not noise[~valid].any()
    ratio = 10 * (wave.square().sum(1) / noise.square().sum(1)).log10()
    assert ratio.min() > 9.5 and ratio.max() < 40.5, "the power is that of the valid samples, not of the padding"
    assert ratio.min() < 12 and ratio.max() > 38


def test_silence_stays_silent() -> None:
    assert not random_noise(torch.zeros(2, 100), torch.tensor([100, 50]), 0.0).any()
