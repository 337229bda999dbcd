"""Statistics of parameters: naive sums, closed forms, and the same rule of saturation as in the health log."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.aliasing.kernels import estimates
from aasp.aliasing.kernels.estimates import number, over_clips, percent
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.lambda_encoder import ALPHA_RANGE
from aasp.training.randomness import seed

RNG = np.random.default_rng(0)


def test_variance_against_naive_sums():
    values = [RNG.normal(k, 1 + k, (5 + k, 3, 4)) + np.arange(4) for k in range(6)]
    found = estimates.variance(values)
    each = [(x.mean(), [[p.mean() for p in column] for column in x]) for x in values]
    clips = np.var([mean for mean, _ in each])
    patches = np.mean([np.var(means) for _, means in each])
    states = np.mean([np.mean([[p.var() for p in column] for column in x]) for x in values])
    total = clips + patches + states
    assert total == pytest.approx(np.mean([np.mean(x**2) for x in values]) - np.mean([x.mean() for x in values]) ** 2)
    assert [found[part] for part in ("clips", "patches", "states")] == pytest.approx(
        [clips / total, patches / total, states / total]
    )
    fixed = np.var([[np.mean([x[:, f, s].mean() for x in values]) for s in range(4)] for f in range(3)])
    assert found["sound"]["estimate"] == pytest.approx(1 - fixed / total)
    assert found["moves"] == pytest.approx(np.sqrt(total - fixed))
    assert found["sound"]["low"] <= found["sound"]["estimate"] <= found["sound"]["high"]


@pytest.mark.parametrize(
    ("values", "part", "sound"),
    [
        ([np.broadcast_to(np.arange(4.0), (5, 3, 4))] * 3, "states", 0),
        ([np.full((5, 3, 4), k) for k in (1.0, 2, 4)], "clips", 1),
        ([np.broadcast_to(np.arange(5.0)[:, None, None], (5, 3, 4))] * 3, "patches", 1),
    ],
)
def test_each_part_alone(values, part, sound):
    found = estimates.variance(values)
    assert found[part] == pytest.approx(1) and found["sound"]["estimate"] == pytest.approx(sound)


def test_nothing_varies():
    found = estimates.variance([np.full((5, 3, 4), 0.2, np.float32)] * 3)
    assert found["clips"] == found["patches"] == found["states"] == found["sound"]["estimate"] == 0


def test_saturation_is_the_health_logs():
    torch.manual_seed(0)
    stem = AaPE(24, 128)
    with torch.no_grad():
        stem.lambda_encoder.head.bias[:4] = -8.0
        stem.lambda_encoder.head.bias[6] = 8.0
    mel = torch.randn(2, 64, 128)
    alphas = [x.numpy() for x in stem.estimate(mel)[0].detach()]
    found = estimates.saturation(alphas, ALPHA_RANGE)
    assert (found["low"]["estimate"], found["high"]["estimate"]) == pytest.approx((4 / 16, 1 / 16))
    health = stem.diagnostics(mel)["alpha_saturation"].item()
    assert found["low"]["estimate"] + found["high"]["estimate"] == pytest.approx(health)


def test_distance_is_a_share_of_the_range():
    values = [np.array([[[0.2, 0.4]]]), np.array([[[0.3, 0.3]], [[0.5, 0.1]]])]
    assert estimates.distance(values, np.array([0.2, 0.2]), (0.0, 2.0)) == pytest.approx([0.05, 0.075])


def test_the_untrained_stem_is_rebuilt_from_the_seed():
    config = AudioEncoderConfig(stem=AaPEConfig(states=4), encoder=EncoderConfig(24, 1, 2))
    seed(7)
    begun = AudioEncoder(config).stem
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    again = estimates.untrained(begun, 7)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(begun.state_dict().values(), again.state_dict().values(), strict=True))


def test_fewer_than_six_clips_have_no_interval():
    found = over_clips(np.array([0.25]), minus=np.array([0.05]))
    assert found == {"estimate": 0.2, "low": None, "high": None} and percent(found) == "20.0 %"
    assert over_clips(np.zeros(3)) == {"estimate": 0.0, "low": None, "high": None}, "measured, not counted"
    assert over_clips(np.zeros(12)) == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    assert percent(over_clips(np.array([0.2, 0.3]))) == "25.0 %", "20.0 to 30.0 would be right half the time"
    assert percent(over_clips(np.tile([0.2, 0.3], 50))).startswith("25.0 % (24.0 to 26.0")
    assert [number(x) for x in (0.123, 0.00042, 0.00001, 0, 1)] == ["12.3", "0.042", "<0.01", "0", "100.0"]
    assert percent(over_clips(np.array([1e-5, 2e-5] * 3))) == "<0.01 %"
