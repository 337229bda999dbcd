"""Temporal kernels: a convolution's weights, a pure rate where it is, an adaptive stem's by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp.aliasing.kernels.channels import RATES, linearised
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.conv import ConvStem


def test_of_a_convolution_it_is_the_weights():
    torch.manual_seed(0)
    stem = ConvStem(6, 32).eval()
    found = linearised(stem, torch.randn(80, 32), 100.0)
    assert found.jacobian.shape == (2, 6, 16, 32)
    weights = stem.project.weight.detach().reshape(6, 16, 16).numpy()
    assert found.jacobian[1, :, :, 16:] == pytest.approx(weights) and not found.jacobian[1, :, :, :16].any()


@pytest.mark.parametrize("hertz", [6.25, 12.5, 37.5])
def test_a_rate_is_found_where_it_is(hertz):
    stem = ConvStem(2, 16).eval()
    wave = torch.cos(2 * np.pi * hertz / 100 * torch.arange(16))
    with torch.no_grad():
        stem.project.weight.copy_(wave.repeat_interleave(16).expand(2, -1))
    found = linearised(stem, torch.zeros(32, 16), 100.0)
    assert found.hertz.shape == (RATES,) and found.hertz[-1] == 50
    assert found.peak_hz == pytest.approx(np.full((1, 2), hertz), abs=1)
    spectrum = np.abs(np.exp(-2j * np.pi * np.outer(found.hertz, np.arange(16)) / 100) @ wave.numpy()) ** 2
    assert found.power[0, 0] == pytest.approx(16 * spectrum, rel=1e-4, abs=1e-3)
    assert found.beyond(hertz / 2) > 0.75 > 0.25 > found.beyond(1.5 * hertz)


@pytest.mark.parametrize("taps", [16, 32])
def test_of_a_stem_that_adapts_it_is_the_derivative(taps):
    torch.manual_seed(0)
    stem = AaPE(4, 32, AaPEConfig(states=4, taps=taps, encoder_width=16)).eval()
    with torch.no_grad():
        stem.fuse.weight.normal_(std=0.3)
    mel = torch.randn(80, 32)
    mel[32:48] += 3  # the loudest patch is the third
    found = linearised(stem, mel, 100.0)
    side = 16 * ((taps - 16 + 31) // 32)
    assert found.jacobian.shape[2] == 16 + 2 * side
    step = torch.zeros(80, 32)
    step[37, 20] = 1e-2
    with torch.no_grad():
        change = (stem((mel + step)[None]) - stem((mel - step)[None]))[0, 2 * 2 + 1] / 2e-2
    assert found.jacobian[1, :, side + 5, 20] == pytest.approx(change.numpy(), rel=0.02, abs=2e-3)


def test_a_clip_of_one_patch_is_enough():
    stem = AaPE(4, 32, AaPEConfig(states=4, taps=48, encoder_width=16)).eval()
    assert linearised(stem, torch.randn(16, 32), 100.0).jacobian.shape == (2, 4, 48, 32)
