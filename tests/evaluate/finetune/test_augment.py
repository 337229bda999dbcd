"""Augmentation of clips in training, against plain numpy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aasp.evaluate.finetune.augment import AugmentConfig, Mix, augmented
from aasp.model.audio_encoder import AudioEncoder


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
