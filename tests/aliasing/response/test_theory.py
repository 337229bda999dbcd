"""Measured responses of stems equal those of their taps: conv, low-pass, overlap, AaPE's states in each phase."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from aasp.aliasing.response import theory
from aasp.aliasing.response.measure import respond, stages
from aasp.aliasing.response.stimuli import Settings, modulations
from aasp.encoders import StemAdapter
from aasp.errors import AaspError
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.ast import ASTConfig
from aasp.stems.contract import Stem
from aasp.stems.conv import ConvConfig
from aasp.stems.lowpass import LowpassConfig
from aasp.stems.sblu import bilateral_laplace

MELS, WIDTH = 32, 12
FEW = Settings(frequencies=5)


def adapter(config: object) -> StemAdapter:
    torch.manual_seed(0)
    return StemAdapter("it", config.build(WIDTH, MELS))  # type: ignore[attr-defined]


def response(one: StemAdapter, stage: str, settings: Settings = FEW) -> dict:
    return respond(one, next(place for place in stages(one, ("stem",)) if place.name == stage), settings)


class Comb(Stem):
    """By hand: the first frame of each patch, and the difference of its two halves' first frames; of the mean bin."""

    def __init__(self) -> None:
        super().__init__(2, MELS, (16, 16))

    def forward(self, mel_BTM: Tensor, valid_BN: Tensor | None = None) -> Tensor:
        frames = self.cut(mel_BTM).mean(-1)
        return torch.stack([frames[..., 0], frames[..., 8] - frames[..., 0]], dim=-1).flatten(1, 2)


def test_the_known_response_of_a_stem_made_by_hand_is_recovered() -> None:
    found = response(StemAdapter("comb", Comb()), "stem")
    hz = np.array(found["hz"])
    # |1| of the first channel, |exp(i 8 w) - 1| = 2 |sin 4 w| of the second.
    second = 2 * np.abs(np.sin(4 * 2 * np.pi * hz / 100))
    expected = np.sqrt((1 + second**2) / 2)
    np.testing.assert_allclose(found["gain"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["theory"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["shift_variance"], np.where(hz > 3.125, 2.0, 0.0), atol=1e-4)
    np.testing.assert_allclose(found["alias_share"], 1, atol=1e-6)
    np.testing.assert_allclose(found["envelope"], 0, atol=1e-6)
    assert found["linear"] and found["alias_hz"][-1] == pytest.approx(abs(hz[-1] - 43.75))


@pytest.mark.parametrize(
    "config",
    [
        ConvConfig(),
        ConvConfig(patch=(8, 32)),
        LowpassConfig(),
        ConvConfig(taps=32),
        ConvConfig(taps=48),
        ASTConfig(),
    ],
    ids=str,
)
def test_linear_stems_respond_as_their_taps_predict(config: object) -> None:
    found = response(adapter(config), "stem")
    assert found["linear"]
    scale = max(found["theory"])
    np.testing.assert_allclose(found["gain"], found["theory"], atol=1e-4 * scale)


def test_the_convolutions_taps_are_its_weights() -> None:
    one = adapter(ConvConfig())
    taps = theory.impulse_responses(one.stem).reshape(2, 48, 2, WIDTH)
    weight = one.stem.project.weight.detach().unflatten(1, (16, 16)).sum(2).T.numpy()
    np.testing.assert_allclose(taps[1, 16:32, 1], weight, atol=1e-6)
    assert not taps[1, :16].any() and not taps[1, 32:].any() and not taps[1, :, 0].any()


def test_the_low_pass_attenuates_what_would_alias() -> None:
    summaries = [response(adapter(config), "stem")["summary"] for config in (ConvConfig(), LowpassConfig())]
    conv, lowpass = (one["gain_above"] / one["gain_below"] for one in summaries)
    assert lowpass < 0.2 < 0.5 < conv
    assert all(one["alias_share_above"] == pytest.approx(1, abs=1e-6) for one in summaries)
    # A smaller share of the tokens' variation comes from aliasing: the benefit of a low-pass.
    assert summaries[1]["shift_variance"] < 0.1 < 0.8 < summaries[0]["shift_variance"]


FORMS = [
    dict(phase=phase, taps=taps, window=window)
    for phase in ("even", "conjugate")
    for taps in (16, 48)
    for window in ("two-sided", "gaussian")
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("gain", ["unit", "paper"])
def test_states_respond_as_their_taps_predict(form: dict, gain: str) -> None:
    found = response(adapter(AaPEConfig(states=4, parameters="fixed", gain=gain, **form)), "states")
    states = found["states"]
    scale = np.max(states["theory"])
    np.testing.assert_allclose(states["measured"], states["theory"], atol=1e-4 * scale)
    np.testing.assert_allclose(found["gain"], found["theory"], atol=1e-4 * max(found["theory"]))
    np.testing.assert_allclose(found["alias_share"], 1, atol=1e-4)
    if form["phase"] == "even":  # both parts see one and the same linear functional's real and imaginary share
        np.testing.assert_allclose(found["phase_variance"], 1 / math.sqrt(2), atol=1e-4)


def test_states_of_estimated_parameters_nearly_do() -> None:
    found = response(adapter(AaPEConfig(states=4)), "states")
    np.testing.assert_allclose(found["gain"], found["theory"], atol=0.03 * max(found["theory"]))
    assert not found["linear"]


def test_a_states_taps_are_its_response_to_impulses() -> None:
    torch.manual_seed(1)
    stem = AaPE(WIDTH, MELS, AaPEConfig(states=3, taps=32, parameters="learned", phase="even")).eval()
    alpha, beta = (x[0, 0] for x in stem.estimate(torch.zeros(1, 16, MELS)))
    taps = theory.state_taps(stem, alpha, beta).reshape(32, 2, 3, 2)
    mel = torch.zeros(32, 48, MELS)
    mel[torch.arange(32), torch.arange(8, 40)] = 1.0  # each frame of the middle patch's window in turn
    patches = stem.cut(mel)
    with torch.no_grad():
        real, imag = bilateral_laplace(stem.windows(patches), *stem.parameters_of(patches), phase="even", gain="unit")
    np.testing.assert_allclose(taps[..., 0], real[:, 1], atol=1e-5)
    np.testing.assert_allclose(taps[..., 1], imag[:, 1], atol=1e-5)


@pytest.mark.parametrize(("config", "linear"), [(ConvConfig(), True), (LowpassConfig(), True), (AaPEConfig(), False)])
def test_superposition_identifies_linear_stems(config: object, linear: bool) -> None:
    stem = adapter(config).stem
    if isinstance(stem, AaPE):
        with torch.no_grad():
            stem.fuse.weight[:, WIDTH:].copy_(torch.eye(WIDTH))
    assert theory.is_linear(stem) is linear


def test_a_stem_that_sees_too_much_is_refused() -> None:
    with pytest.raises(AaspError, match="see 752 frames; 384 are the most"):
        modulations(adapter(ConvConfig(taps=16 + 2 * 368)), FEW)
