"""Every loss against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.pretrain.losses.contrastive import contrastive_loss
from aasp.pretrain.losses.frame import frame_loss
from aasp.pretrain.losses.utterance import utterance_loss

RNG = np.random.default_rng(0)


def test_frame_loss() -> None:
    predicted, target = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=(2, 3, 4, 5))
    valid = RNG.random((2, 3, 4)) > 0.4
    errors = [((predicted[i] - target[i]) ** 2).mean() for i in np.ndindex(valid.shape) if valid[i]]
    loss = frame_loss(torch.tensor(predicted).float(), torch.tensor(target).float(), torch.tensor(valid))
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_utterance_loss() -> None:
    cls, target = RNG.normal(size=(2, 3, 5)), RNG.normal(size=(2, 5))
    errors = [((cls[b, v] - target[b]) ** 2).mean() for b in range(2) for v in range(3)]
    loss = utterance_loss(torch.tensor(cls).float(), torch.tensor(target).float())
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrastive_loss(temperature: float) -> None:
    z = RNG.normal(size=(4, 3, 6))
    unit = z / np.linalg.norm(z, axis=-1, keepdims=True)
    terms = []
    for b in range(4):
        for v in range(3):
            others = [unit[c, w] for c in range(4) for w in range(3) if c != b]
            negatives = sum(np.exp(unit[b, v] @ other / temperature) for other in others)
            for w in range(3):
                if w != v:
                    positive = np.exp(unit[b, v] @ unit[b, w] / temperature)
                    terms.append(-np.log(positive / (positive + negatives)))
    loss = contrastive_loss(torch.tensor(z).float(), temperature)
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize("clips", [1, 2, 3])
def test_processes_that_compare_their_own_views_with_all_have_the_loss_and_gradient_of_one(clips: int) -> None:
    z = torch.randn(6, 3, 5, dtype=torch.float64, requires_grad=True)
    whole = contrastive_loss(z, 0.2)
    (expected,) = torch.autograd.grad(whole, z)
    firsts = range(0, 6, clips)
    parts = [contrastive_loss(z[first : first + clips], 0.2, z, first) for first in firsts]
    mean = torch.stack(parts).mean()
    (gradient,) = torch.autograd.grad(mean, z)
    assert mean.item() == pytest.approx(whole.item(), rel=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 1, 6), (1, 3, 6)])
def test_contrastive_loss_of_one_view_or_one_clip_is_zero_and_has_a_gradient(shape: tuple[int, ...]) -> None:
    z = torch.randn(shape, requires_grad=True)
    loss = contrastive_loss(z, 0.1)
    loss.backward()
    assert loss.item() == 0 and z.grad is not None and not z.grad.any()


def test_contrastive_loss_is_fp32_under_autocast() -> None:
    z = torch.randn(8, 4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = contrastive_loss(z, 0.1)
    assert torch.equal(loss, contrastive_loss(z, 0.1))


def test_contrastive_loss_falls_when_views_agree() -> None:
    clips = torch.randn(8, 1, 16)
    noise = torch.randn(8, 4, 16)
    close, far = (contrastive_loss(clips + scale * noise, 0.2) for scale in (0.1, 2.0))
    assert close < 0.5 * far
