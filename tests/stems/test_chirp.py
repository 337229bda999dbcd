"""The chirped SBLU: its kernel against a complex128 oracle, its start at zero, older documents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_sblu import OPTIONS, draw, weight

from aasp.config import from_dict, to_dict
from aasp.errors import AaspError
from aasp.stems.aape import AaPE, AaPEConfig
from aasp.stems.sblu import bilateral_laplace, kernel

CHIRPS = np.array([[-0.19, -0.02, 0.0], [0.01, 0.07, 0.19]])


def oracle(v: np.ndarray, alpha: np.ndarray, beta: np.ndarray, phase: str, window: str, gain: str, step: float):
    """Each tap as without a chirp, times a chirp's sample."""
    y, taps = np.zeros(v.shape[:-1], dtype=np.complex128), v.shape[-1]
    for index in np.ndindex(y.shape):
        w = np.array([weight(alpha[index], beta[index], k, taps, phase, window, step) for k in range(taps)])
        m = np.arange(taps) - (taps - 1 if window == "one-sided" else (taps - 1) / 2)
        w = w * np.exp(-0.5j * CHIRPS[index] * (m * step) ** 2)
        y[index] = (w * v[index]).sum() / (np.linalg.norm(w) if gain == "unit" else 1)
    return y


@pytest.mark.parametrize(("taps", "step"), [(1, 1.0), (16, 0.5), (33, 1.0)])
@pytest.mark.parametrize(("phase", "window", "gain"), OPTIONS)
def test_agrees_with_the_complex_oracle(taps: int, step: float, phase: str, window: str, gain: str) -> None:
    v, alpha, beta = draw(taps)
    found = bilateral_laplace(
        *map(torch.from_numpy, (v, alpha, beta)), phase=phase, window=window, gain=gain, step=step,
        gamma=torch.from_numpy(CHIRPS),
    )  # fmt: skip
    expected = oracle(v, alpha, beta, phase, window, gain, step)
    np.testing.assert_allclose(found[0].numpy() + 1j * found[1].numpy(), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("phase", "window", "taps"), [("even", "two-sided", 5), ("conjugate", "one-sided", 4)])
def test_gradients(phase: str, window: str, taps: int) -> None:
    inputs = [torch.from_numpy(x).requires_grad_() for x in (*draw(taps), CHIRPS)]
    f = lambda v, a, b, c: bilateral_laplace(v, a, b, gamma=c, phase=phase, window=window, gain="unit")
    assert torch.autograd.gradcheck(f, inputs)


def test_the_sampled_chirp_is_near_the_integral_that_has_no_closed_form() -> None:
    alpha, beta, taps, fine = 0.2, 0.8, 16, 400
    u = (np.arange(fine) + 0.5) / fine - 0.5
    for gamma, most in ((0.01, 0.005), (0.05, 0.03), (0.19, 0.1)):
        t = np.arange(taps)[:, None] - (taps - 1) / 2 + u
        exact = np.exp(-alpha * np.abs(t) - 1j * (beta * t + 0.5 * gamma * t**2)).mean(1)
        options = dict(phase="conjugate", window="two-sided", gain="paper", gamma=torch.tensor([gamma]).double())
        parts = kernel(torch.tensor([alpha]).double(), torch.tensor([beta]).double(), taps, **options)
        ours = parts[0][0].numpy() + 1j * parts[1][0].numpy()
        assert np.linalg.norm(ours - exact) < most * np.linalg.norm(exact)


def test_the_response_to_a_chirp_is_largest_at_its_own_rate() -> None:
    m, rates = torch.arange(48) - 23.5, torch.linspace(-0.05, 0.05, 11)
    v = torch.cos(1.2 * m + 0.5 * 0.02 * m.square())
    loud = torch.stack(bilateral_laplace(v, torch.tensor(0.05), torch.tensor(1.2), gain="unit", gamma=rates)).norm(
        dim=0
    )
    assert rates[loud.argmax()].item() == pytest.approx(0.02, abs=1e-6) and loud.max() > 1.5 * loud[5]


@pytest.mark.parametrize("fields", [{}, {"taps": 48, "phase": "even"}, {"parameters": "learned", "taps": 32}])
def test_a_stem_starts_as_the_one_without_it_and_its_rates_learn(fields: dict[str, object]) -> None:
    found, mel = {}, torch.randn(2, 48, 32, generator=torch.Generator().manual_seed(1))
    for chirp in (False, True):
        torch.manual_seed(0)
        stem = AaPE(24, 32, AaPEConfig(states=4, encoder_width=16, chirp=chirp, **fields))
        with torch.no_grad():
            stem.fuse.weight.add_(0.1 * torch.randn(24, 48, generator=torch.Generator().manual_seed(2)))
        found[chirp] = stem(mel)
    assert torch.equal(found[True], found[False])
    found[True].square().sum().backward()
    rates = stem.chirp_logits if fields.get("parameters") == "learned" else stem.lambda_encoder.chirp.weight
    assert rates.grad.abs().max() > 0
    with torch.no_grad():
        rates.add_(torch.randn_like(rates))
    assert (stem(mel) - found[True]).abs().max() > 1e-3
    diagnostics = stem.diagnostics(mel)
    assert 0 < diagnostics["gamma_mean"].abs() < np.pi / 16 and diagnostics["gamma_saturation"] < 1
    alpha, beta = stem.estimate(mel)
    same = stem.changed(lambda a, b: (a, b))
    assert alpha.shape == beta.shape and torch.equal(same(mel), stem(mel))
    assert (stem.changed(lambda a, b: (a, 0.5 * b))(mel) - stem(mel)).abs().max() > 1e-3


def test_older_documents_are_unchanged() -> None:
    assert "chirp" not in to_dict(AaPEConfig()) and to_dict(AaPEConfig(chirp=True))["chirp"] is True
    assert from_dict(AaPEConfig, to_dict(AaPEConfig(chirp=True)), "here").chirp
    plain, with_it = (AaPE(16, 32, AaPEConfig(states=4, chirp=chirp)).state_dict() for chirp in (False, True))
    assert set(with_it) - set(plain) == {"lambda_encoder.chirp.weight", "lambda_encoder.chirp.bias"}
    with pytest.raises(
        AaspError, match="chirp with fixed parameters stays zero; set parameters to estimated or learned"
    ):
        AaPEConfig(chirp=True, parameters="fixed")


@pytest.mark.slow
@torch.no_grad()
def test_a_chirped_stem_is_one_graph_of_any_number_of_clips() -> None:
    stem, mel = AaPE(24, 32, AaPEConfig(states=4, encoder_width=16, taps=32, chirp=True)).eval(), torch.randn(2, 48, 32)
    stem.lambda_encoder.chirp.bias.fill_(0.3)
    graph = torch.export.export(stem, (mel,), dynamic_shapes=({0: torch.export.Dim("clips", min=1, max=64)},)).module()
    torch.testing.assert_close(graph(torch.cat([mel, -mel])), stem(torch.cat([mel, -mel])), rtol=1e-5, atol=1e-5)
