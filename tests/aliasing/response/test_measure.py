"""Each measure against its closed form, on tokens that are made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.aliasing.response import measure
from aasp.aliasing.response.stimuli import alias, grid

TOKENS, RATE, DEPTH = 62, 6.25, 0.5
PHASES = 2 * np.pi * np.arange(8) / 8
H = np.array([1.0, 0.3j, -0.5 + 0.2j])


def linear(hz: float, phases: np.ndarray) -> np.ndarray:
    """Tokens of a linear stem of three channels with responses H, (n, G, 3)."""
    turn = np.exp(1j * (2 * np.pi * hz * np.arange(TOKENS) / RATE + np.asarray(phases)[:, None]))
    return DEPTH * (turn[..., None] * H).real


def delays(hz: float, count: int = 8) -> np.ndarray:
    return -2 * np.pi * hz * np.arange(count) / count / RATE


HZ = grid(24, RATE, TOKENS)


def test_frequencies_are_whole_periods_and_alias_to_neither_end() -> None:
    periods = HZ * TOKENS / RATE
    np.testing.assert_allclose(periods, np.round(periods), atol=1e-9)
    assert (np.round(periods) % (TOKENS // 2) != 0).all()
    assert HZ[0] == pytest.approx(0.5, rel=0.1) and HZ[-1] == pytest.approx(45, rel=0.01) and len(HZ) > 20


def test_alias_is_the_distance_to_a_multiple_of_the_token_rate() -> None:
    np.testing.assert_allclose(alias(np.array([1.0, 3.125, 4.0, 6.25, 7.25, 45.0]), RATE), [1, 3.125, 2.25, 0, 1, 1.25])


@pytest.mark.parametrize("hz", HZ[::5])
def test_a_linear_stem(hz: float) -> None:
    tokens = linear(hz, PHASES)
    np.testing.assert_allclose(measure.locked(tokens, PHASES, DEPTH), np.tile(np.abs(H), (TOKENS, 1)), atol=1e-12)
    assert measure.envelope(tokens, DEPTH) == pytest.approx(0, abs=1e-12)
    expected = abs((H**2).sum()) / (np.sqrt(2) * (np.abs(H) ** 2).sum())
    assert measure.phase_variance(tokens, 3) == pytest.approx(expected)
    fold = measure.fold(tokens)
    assert fold.sum() == pytest.approx(np.square(tokens).mean())
    assert fold.argmax() == round(alias(hz, RATE) * TOKENS / RATE) and fold.max() == pytest.approx(fold.sum())


def test_the_energy_of_one_channel_and_of_two_in_quadrature() -> None:
    tokens = linear(4.0, PHASES)[..., :2]
    assert measure.phase_variance(tokens, 1) == pytest.approx(1 / np.sqrt(2))
    tokens[..., 1] /= 0.3
    assert measure.phase_variance(tokens, 2) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("count", [8, 5])
@pytest.mark.parametrize("hz", HZ)
def test_shift_variance_of_a_linear_stem_is_a_question_of_how_often_it_folds(hz: float, count: int) -> None:
    tokens = linear(hz, delays(hz, count))
    folds = round(hz / RATE)
    expected = 2 * (1 - np.cos(2 * np.pi * folds * np.arange(count) / count).mean())
    assert measure.shift_error(tokens) / np.square(tokens[0]).mean() == pytest.approx(expected, abs=1e-9)
    if count > folds:
        assert expected == pytest.approx(2.0 if hz > RATE / 2 else 0.0)


def test_an_envelope_neither_aliases_nor_depends_on_phase() -> None:
    tokens = np.full((8, TOKENS, 2), 0.4)
    assert measure.envelope(tokens, DEPTH) == pytest.approx(0.8)
    assert measure.locked(tokens, PHASES, DEPTH).max() == pytest.approx(0, abs=1e-12)
    assert measure.phase_variance(tokens, 2) == pytest.approx(0)
    assert measure.shift_error(tokens) == pytest.approx(0)
    assert measure.fold(tokens)[0] == pytest.approx(0.16)


def test_a_square_doubles_the_rate_in_the_fold_over() -> None:
    hz = 10 * RATE / TOKENS
    fold = measure.fold(linear(hz, PHASES)[..., :1] ** 2)
    # cos² = 1/2 + cos(2 ·) / 2
    np.testing.assert_allclose(fold[[0, 10, 20]] / fold.sum(), [2 / 3, 0, 1 / 3], atol=1e-12)
