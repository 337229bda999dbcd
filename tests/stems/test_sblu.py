"""The kernel against a complex128 oracle, tap by tap, over every option."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from aasp.stems.lambda_encoder import ALPHA_RANGE, beta_range
from aasp.stems.sblu import bilateral_laplace, kernel

PHASES = ("even", "conjugate")
WINDOWS = ("two-sided", "one-sided", "gaussian", "hann", "rectangular")
GAINS = ("paper", "unit")
OPTIONS = list(itertools.product(PHASES, WINDOWS, GAINS))


def weight(alpha: float, beta: float, k: int, taps: int, phase: str, window: str, step: float) -> complex:
    """One tap, written as the equations are."""
    m, rate = k - (taps - 1) / 2, complex(alpha, beta)
    x = step * rate / 2
    if window == "one-sided":
        return (1 - np.exp(-rate * step)) / rate * np.exp(-rate * step * (taps - 1 - k))
    if window == "two-sided":
        w = 2 / rate * np.sinh(x) * np.exp(-rate * step * abs(m)) if m else 2 / rate * (1 - np.exp(-x))
    else:
        time = abs(m) * step
        if window == "gaussian":
            envelope = math.exp(-(time**2) / (2 * (1.294 / alpha) ** 2))
        else:
            length = min((7.03 if window == "hann" else 4.32) / alpha, taps * step)
            shape = 0.5 + 0.5 * math.cos(2 * math.pi * time / length) if window == "hann" else 1.0
            envelope = shape if time <= length / 2 else 0.0
        w = envelope * np.exp(-1j * beta * time)
    if phase == "conjugate":
        w = w.conjugate() if m < 0 else w.real if m == 0 else w
    return complex(w)


def oracle(v: np.ndarray, alpha: np.ndarray, beta: np.ndarray, phase: str, window: str, gain: str, step: float):
    y = np.zeros(v.shape[:-1], dtype=np.complex128)
    for index in np.ndindex(y.shape):
        taps = range(v.shape[-1])
        w = np.array([weight(alpha[index], beta[index], k, len(taps), phase, window, step) for k in taps])
        if gain == "unit":
            w = w / np.sqrt(sum(abs(z) ** 2 for z in w))
        y[index] = sum(w[k] * v[index][k] for k in taps)
    return y


def draw(taps: int, shape: tuple[int, ...] = (2, 3)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(taps)
    low, high = beta_range(16)
    return rng.normal(size=(*shape, taps)), rng.uniform(*ALPHA_RANGE, size=shape), rng.uniform(low, high, size=shape)


@pytest.mark.parametrize("taps", [1, 2, 5, 16, 33])
@pytest.mark.parametrize("step", [1.0, 0.5])
@pytest.mark.parametrize(("phase", "window", "gain"), OPTIONS)
def test_agrees_with_the_complex_oracle(taps: int, step: float, phase: str, window: str, gain: str) -> None:
    v, alpha, beta = draw(taps)
    real, imag = bilateral_laplace(
        *map(torch.from_numpy, (v, alpha, beta)), phase=phase, window=window, gain=gain, step=step
    )
    assert real.dtype == torch.float64
    np.testing.assert_allclose(
        real.numpy() + 1j * imag.numpy(), oracle(v, alpha, beta, phase, window, gain, step), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("taps", [4, 5])
@pytest.mark.parametrize(("phase", "window", "gain"), OPTIONS)
def test_gradients(taps: int, phase: str, window: str, gain: str) -> None:
    inputs = [torch.from_numpy(x).requires_grad_() for x in draw(taps, (2, 2))]
    f = lambda v, a, b: bilateral_laplace(v, a, b, phase=phase, window=window, gain=gain)
    assert torch.autograd.gradcheck(f, inputs)


@pytest.mark.parametrize(("phase", "window", "gain"), OPTIONS)
def test_finite_at_every_bound_under_bf16_autocast(phase: str, window: str, gain: str) -> None:
    low, high = beta_range(16)
    alpha = torch.tensor([*ALPHA_RANGE, *ALPHA_RANGE], requires_grad=True)
    beta = torch.tensor([low, low, high, high], requires_grad=True)
    v = torch.randn(7, 4, 64).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        parts = bilateral_laplace(v, alpha, beta, phase=phase, window=window, gain=gain)
    sum(part.square().sum() for part in parts).backward()
    assert all(part.dtype == torch.float32 and part.isfinite().all() for part in parts)
    learning = (v, beta) if window == "rectangular" else (v, alpha, beta)  # a rectangle's length has no gradient
    assert all(x.grad.isfinite().all() for x in learning)


def test_long_even_windows_have_the_response_of_the_continuous_integral() -> None:
    """The weights of an even K sum to the DC gain 2 / L of the two-sided Laplace kernel."""
    alpha, beta = torch.tensor([0.1, 0.5]).double(), torch.tensor([0.3, 2.0]).double()
    real, imag = kernel(alpha, beta, 1024, phase="even", window="two-sided", gain="paper")
    expected = 2 / torch.complex(alpha, beta)
    torch.testing.assert_close(torch.complex(real.sum(-1), imag.sum(-1)), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("window", ["gaussian", "hann", "rectangular"])
def test_controls_have_the_bandwidth_of_the_two_sided_exponential(window: str) -> None:
    """At the -3 dB frequency of the exponential, each control is 3 dB down too."""
    alpha, beta = torch.tensor([0.05]).double(), torch.tensor([0.0]).double()
    taps = torch.arange(1024) - 511.5

    def gain_at(offset: float, name: str) -> float:
        real, _ = kernel(alpha, beta, 1024, phase="even", window=name, gain="paper")
        return float((real[0] * torch.cos(offset * taps)).sum() / real[0].sum())

    half_bandwidth = 0.05 * math.sqrt(math.sqrt(2) - 1)  # of 1 / (1 + (w / alpha)^2), the two-sided exponential
    assert gain_at(half_bandwidth, "two-sided") == pytest.approx(2**-0.5, abs=2e-3)
    assert gain_at(half_bandwidth, window) == pytest.approx(2**-0.5, abs=1e-2)


def test_even_phase_is_blind_to_odd_signals_and_conjugate_phase_is_not() -> None:
    v = torch.sin(0.6 * (torch.arange(16) - 7.5))[None]
    alpha, beta = torch.tensor([0.1]), torch.tensor([0.6])
    magnitude = lambda phase: torch.hypot(
        *bilateral_laplace(v, alpha, beta, phase=phase, window="two-sided", gain="paper")
    ).item()
    assert magnitude("even") < 1e-5
    assert magnitude("conjugate") > 1.0
