"""Interventions on Lambda change a copy of the stem as their names state."""

from __future__ import annotations

import pytest
import torch

from aasp.aliasing.kernels.estimates import change, intervene, means, share
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.conv import ConvStem
from aasp.stems.lambda_encoder import alpha_and_beta

CONFIG = {"states": 4, "encoder_width": 16}


@pytest.fixture
def stem() -> AaPE:
    torch.manual_seed(0)
    stem = AaPE(24, 32, AaPEConfig(**CONFIG))
    with torch.no_grad():  # as if trained: the estimates differ, and the features count
        stem.lambda_encoder.head.weight.normal_(std=0.5)
        stem.fuse.weight.normal_(std=0.3)
    return stem.eval()


MEL = torch.randn(2, 80, 32, generator=torch.Generator().manual_seed(1))


def test_shared_is_the_stem_that_learns_without_estimating(stem):
    learned = AaPE(24, 32, AaPEConfig(parameters="learned", **CONFIG)).eval()
    with torch.no_grad():
        learned.logits.normal_()
    learned.load_state_dict({n: v for n, v in stem.state_dict().items() if "lambda" not in n}, strict=False)
    assert torch.allclose(share(stem, *alpha_and_beta(learned.logits, 16))(MEL), learned(MEL), atol=1e-6)


def test_shuffled_keeps_every_set_of_the_clip_and_moves_most(stem):
    before, after = (x.estimate(MEL)[1].detach().flatten(1, 2) for x in (stem, intervene(stem, "shuffled")))
    assert torch.equal(before.sort(1).values, after.sort(1).values)
    assert (before != after).float().mean() > 0.7


def test_mean_is_a_clips(stem):
    alpha = stem.estimate(MEL)[0].detach()
    after = intervene(stem, "mean").estimate(MEL)[0].detach()
    assert torch.allclose(after, alpha.mean((1, 2), keepdim=True).expand_as(alpha))


def test_off_leaves_the_convolution(stem):
    with torch.no_grad():
        stem.fuse.weight[:, :24] = torch.eye(24)
    conv = ConvStem(24, 32).eval()
    conv.project.load_state_dict(stem.project.state_dict())
    assert torch.allclose(intervene(stem, "off")(MEL), conv(MEL), atol=1e-5)


def test_the_stem_itself_is_not_touched(stem):
    before = stem(MEL)
    for how in ("shuffled", "mean", "off"):
        assert not torch.allclose(intervene(stem, how)(MEL), before)
    assert torch.equal(stem(MEL), before)


def test_change_is_relative_to_how_much_tokens_differ(stem):
    assert change(stem, stem, MEL) == {"tokens": 0, "features": 0}
    off = intervene(stem, "off")
    before, after = stem(MEL), off(MEL)
    spread = (before - before.mean(1, keepdim=True)).square().sum().sqrt()
    found = change(stem, off, MEL)
    assert found["tokens"] == pytest.approx(((after - before).square().sum().sqrt() / spread).item(), rel=1e-5)
    assert found["features"] == 0
    assert 0 < change(stem, intervene(stem, "mean"), MEL)["features"] < 1.5


def test_means_weigh_clips_alike():
    long, short = torch.ones(6, 2, 3), torch.zeros(2, 2, 3)
    assert torch.equal(means([long.numpy(), short.numpy()]), torch.full((2, 3), 0.5))
