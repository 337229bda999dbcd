"""Targets against plain loops, and the teacher's moving average."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.pretrain.ema import EMA
from aasp.pretrain.encoding import Clips
from aasp.pretrain.methods.aasp import AaSP, AaSPConfig
from aasp.pretrain.recipe import Recipe
from aasp.pretrain.targets import averaged_layers, standardise, standardised_tokens


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("instance", [True, False])
def test_targets_see_valid_tokens_only(instance: bool) -> None:
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(2, 6, 5)) * (i + 1) + i for i in range(3)]
    lengths = [4, 6]
    weight = torch.tensor([[1.0] * n + [0.0] * (6 - n) for n in lengths])
    frame, summary = averaged_layers([torch.tensor(x).float() for x in layers], weight, instance)
    for b, n in enumerate(lengths):
        own = [x[b, :n] for x in layers]
        normalised = [(x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in own]
        expected = layer_norm(np.mean(normalised, axis=0))
        np.testing.assert_allclose(frame[b, :n].numpy(), expected, atol=1e-4)
        whole = expected.mean(0) if instance else layer_norm(np.mean(own, axis=0).mean(0))
        np.testing.assert_allclose(summary[b].numpy(), whole, atol=1e-4)


def test_the_average_moves_by_one_minus_momentum_and_takes_no_gradient() -> None:
    torch.manual_seed(0)
    student = AudioEncoder(AudioEncoderConfig(encoder=EncoderConfig(32, 2, 4)))
    teacher = EMA(student)
    before = {name: p.clone() for name, p in teacher.model.named_parameters()}
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1.0)
    teacher.update(student, 0.9)
    for name, p in teacher.model.named_parameters():
        torch.testing.assert_close(p, before[name] + 0.1)
        assert not p.requires_grad
    assert teacher.distance(student) > 0
    assert any("stem" in name for name in before), "the stem is part of the average"


def test_a_standardised_summary_is_no_constant() -> None:
    summary = 5 + 0.1 * torch.randn(64, 8)
    np.testing.assert_allclose(standardise(summary).mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(standardise(summary).std(0, correction=0), 1, atol=1e-2)
    assert (standardise(torch.ones(4, 8)) == 0).all()


def test_the_deviation_of_summaries_is_zero_for_equal_clips() -> None:
    torch.manual_seed(0)
    recipe = Recipe("", "", AudioEncoderConfig(encoder=EncoderConfig(32, 2, 4)))
    teacher = AaSP(AaSPConfig(), recipe, lambda tensor: (tensor, 0))
    each = lambda mel, count: torch.full((len(mel),), count)
    deviation = lambda mel: teacher.targets(Clips(mel, (4, 8), each(mel, 4), None, each(mel, 64)))[2]
    mel = torch.randn(1, 64, 128)
    same, different = mel.expand(4, -1, -1), torch.randn(4, 64, 128) * torch.arange(1.0, 5.0)[:, None, None]
    assert deviation(same) < 1e-5 < 1e-2 < deviation(different)


def test_tokens_are_standardised_each_over_its_own_channels() -> None:
    tokens = np.random.default_rng(1).normal(3, 2, size=(2, 3, 4, 6))
    expected = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(standardised_tokens(torch.tensor(tokens)).numpy(), expected, atol=1e-5)


def test_a_teacher_follows_the_statistics_of_a_batch_norm() -> None:
    student = nn.BatchNorm1d(3)
    teacher = EMA(student)
    student(5 + torch.randn(64, 3))
    teacher.update(student, 0.75)
    torch.testing.assert_close(teacher.model.running_mean, 0.25 * student.running_mean)
    assert teacher.model.num_batches_tracked == student.num_batches_tracked == 1


def test_a_teacher_has_no_stochastic_depth() -> None:
    teacher = EMA(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))
    around = nn.ModuleList([teacher]).train()
    assert around.training and not any(part.training for part in teacher.modules())
