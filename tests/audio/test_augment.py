"""Random gain."""

from __future__ import annotations

import torch

from aasp.audio.augment import random_gain


def test_gains_fill_their_range_and_are_one_a_clip() -> None:
    torch.manual_seed(0)
    wave = torch.randn(500, 40)
    ratio = random_gain(wave, 6.0) / wave
    decibels = 20 * ratio.mean(1).log10()
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert decibels.abs().max() <= 6.001 and decibels.min() < -5.5 and decibels.max() > 5.5
    assert torch.equal(random_gain(wave, 0.0), wave)
