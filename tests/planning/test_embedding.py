"""The traced cost of embedding is what torch counts, whatever the clip's length."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from aasp.errors import AaspError
from aasp.model.audio_encoder import AudioEncoder, AudioEncoderConfig
from aasp.model.encoder import EncoderConfig
from aasp.planning.embedding import embedding_cost, embedding_plan
from aasp.planning.machines import Machines
from aasp.pretrain import recipes
from aasp.stems.aape import AaPEConfig
from aasp.stems.conv import ConvConfig


@pytest.mark.slow
@pytest.mark.parametrize("stem", [ConvConfig(), AaPEConfig(), AaPEConfig(taps=48)], ids=["conv", "local", "wide"])
@pytest.mark.parametrize("seconds", [0.03, 0.5, 0.975, 1.0, 2.34, 20.0])
def test_torch_counts_the_same_flops(stem: ConvConfig | AaPEConfig, seconds: float) -> None:
    config = AudioEncoderConfig(stem=stem, encoder=EncoderConfig(16, 2, 2), window_seconds=0.96)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        AudioEncoder(config).eval()(torch.zeros(1, round(seconds * 16_000)))
    cost, width = embedding_cost(config, seconds)
    assert width == 16
    assert (counter.get_total_flops(), 0, 0) == (cost.flops, cost.backward, cost.kept)


def test_a_clip_shorter_than_a_window_cannot_be_embedded() -> None:
    with pytest.raises(AaspError, match=r"10\.0 ms is shorter .* 25 ms; .* give a longer clip"):
        embedding_cost(AudioEncoderConfig(), 0.01)


@pytest.mark.slow
def test_windows_that_overlap_by_half_cost_about_twice() -> None:
    plan = embedding_plan(recipes.get("aasp_base").model, Machines(8, 0.4), 1000)
    hours = plan.gpu_hours
    assert hours["recordings of an hour"] == pytest.approx(2 * hours["clips of one window"], rel=0.01)


@pytest.mark.slow
def test_a_long_recording_costs_as_much_as_all_its_windows() -> None:
    config = AudioEncoderConfig(encoder=EncoderConfig(16, 2, 2), window_seconds=0.96)
    rate = embedding_plan(config, Machines(1, 1.0, peak=1.0), 1.0).gpu_hours["recordings of an hour"]
    cost, _ = embedding_cost(config, 120.0)
    assert rate == pytest.approx(30 * cost.flops / 3600 / 1e12, rel=0.01)


def test_a_plan_is_the_cost_at_the_stated_rates() -> None:
    config = recipes.get("aasp_base").model
    plan = embedding_plan(config, Machines(4, 0.5, peak=100.0, decoded=0.5, cores=2), 10.24)
    assert plan.window_flops == embedding_cost(config, 10.24)[0].flops
    assert plan.gpu_hours["clips of one window"] == pytest.approx(3600 * plan.window_flops / 50e12 / 3600)
    assert plan.decoding_core_hours == pytest.approx(10.24 / 0.5 / 3600)
    assert plan.limits["decoding"] == pytest.approx(plan.decoding_core_hours / 8 / 24)
    assert plan.embedding_bytes == 3600 * 768 * 4
