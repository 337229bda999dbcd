"""S4D and Mamba as stems: their features against recursions in plain numpy, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aasp import casting
from aasp.config import with_fields
from aasp.errors import AaspError
from aasp.planning.step import step_cost
from aasp.pretrain import recipes
from aasp.stems.conv import ConvStem
from aasp.stems.state_space import MambaConfig, MambaStem, S4DConfig, S4DStem

MELS = 32


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


@torch.no_grad()
@pytest.mark.parametrize("taps", [16, 48])
def test_s4d_is_the_recursion_of_its_discretised_equation(taps: int) -> None:
    torch.manual_seed(0)
    stem = S4DStem(8, MELS, S4DConfig(taps=taps, signals=3, order=4)).double()
    assert torch.equal(stem.log_decay.exp().float(), torch.full((3, 4), 0.5))  # S4D-Lin: -1/2 + i pi n
    torch.testing.assert_close(stem.frequency[1].float(), torch.tensor([0.0, 1, 2, 3]) * np.pi)
    stem.log_decay.add_(0.3 * torch.randn(3, 4))
    windows = torch.randn(5, 3, taps).double()
    step, a = np.exp(stem.log_step.numpy())[:, None], -np.exp(stem.log_decay.numpy()) - 1j * stem.frequency.numpy()
    turned, held = np.exp(step * a), (np.exp(step * a) - 1) / a
    state = np.zeros((5, 3, 4), complex)
    for frame in range(taps):
        state = turned * state + held * windows[:, :, frame, None].numpy()
    parts = [state.real, state.imag, 0.5 * np.log(np.abs(state) ** 2 + 1e-6)]
    expected = np.concatenate([part.reshape(5, -1) for part in parts], axis=1)
    np.testing.assert_allclose(stem.features(windows).numpy(), expected, rtol=1e-8, atol=1e-10)
    alpha, beta = stem.poles()
    np.testing.assert_allclose(alpha.numpy() + 1j * beta.numpy(), -step * a)


@torch.no_grad()
def test_mamba_is_the_recursion_whose_step_input_and_output_maps_depend_on_the_frame() -> None:
    torch.manual_seed(0)
    stem = MambaStem(8, MELS, MambaConfig(taps=32, signals=6, order=3)).double()
    steps = softplus(stem.step.bias.numpy())
    np.testing.assert_allclose(steps[[0, -1]], 0.02 * 10 ** (np.array([0.5, 5.5]) / 6), rtol=1e-6)
    for parameter in stem.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    windows = torch.randn(5, 6, 32).double()
    a, select = -np.exp(stem.log_decay.numpy()), stem.select.weight.numpy()
    state = np.zeros((5, 6, 3))
    for frame in range(32):
        u = windows[..., frame].numpy()
        low, into, out = np.split(u @ select.T, [1, 4], axis=1)
        step = softplus(low @ stem.step.weight.numpy().T + stem.step.bias.numpy())
        state = np.exp(step[..., None] * a) * state + step[..., None] * into[:, None] * u[..., None]
    expected = (state * out[:, None]).sum(-1) + stem.skip.numpy() * u
    np.testing.assert_allclose(stem.features(windows).numpy(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", ["s4d", "mamba"])
def test_it_starts_as_the_convolution_every_parameter_learns_and_diagnostics_are_logged(kind: str) -> None:
    torch.manual_seed(0)
    stem = {"s4d": S4DStem, "mamba": MambaStem}[kind](8, MELS)
    conv, mel = ConvStem(8, MELS), torch.randn(2, 48, MELS)
    conv.project.load_state_dict(stem.project.state_dict())
    torch.testing.assert_close(stem(mel), conv(mel), rtol=0, atol=1e-6)
    assert stem.states is None and stem.gradient_diagnostics() == {}
    stem.with_all_features()(mel).sub(stem(mel)).square().sum().backward()
    loud = stem.with_all_features()
    loud(mel).square().sum().backward()
    assert [name for name, p in loud.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert loud.gradient_diagnostics()["state_gradient_norm"] > 0
    health = stem.diagnostics(mel)
    names = {"s4d": {"alpha_mean", "beta_mean", "window_cut"}, "mamba": {"step_mean", "step_spread"}}[kind]
    assert set(health) == names and all(value > 0 and value.dim() == 0 for value in health.values())


def test_diagnostics_and_learned_values_need_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casting, "NO_FLOAT64", ("cpu",))
    stem = S4DStem(8, MELS)
    found = [*stem.learned().values(), *stem.diagnostics(torch.randn(2, 48, MELS)).values()]
    assert {one.dtype for one in found} == {torch.float32}


@pytest.mark.parametrize("kind", ["s4d", "mamba", "polyphase"])
def test_a_recipe_with_it_is_planned(kind: str) -> None:
    small = {
        "model.encoder.depth": 1,
        "model.vector": "none",
        "model.encoder.width": 24,
        "predictor.depth": 1,
        "losses.projector": (8, 4),
    }
    small |= {"data.batch": 2, "masking.views": 1, "model.stem": kind}
    if kind == "polyphase":
        small["model.stem.taps"] = 16  # no low-pass
    parts = step_cost(with_fields(recipes.get("aasp_tiny"), small)).parts
    convolution = 2 * 19 * 2 * 8 * 32 * 24  # of the patches that two views see, a product and a sum for each weight
    forward = parts["student.stem"].forward
    assert forward == 4 * convolution if kind == "polyphase" else forward > convolution


def test_impossible_settings_are_one_line() -> None:
    with pytest.raises(AaspError, match=r"step is 0\.2,0\.02; give a smaller one first"):
        S4DConfig(step=(0.2, 0.02))
    with pytest.raises(AaspError, match="signals is 0"):
        MambaConfig(signals=0)
    with pytest.raises(AaspError, match="taps 17 must be the patch's 16 frames plus an even number"):
        S4DConfig(taps=17)
