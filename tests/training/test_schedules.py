"""Schedules against loops that compute each step on its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp.errors import AaspError
from aasp.training.optim import OptimizerConfig
from aasp.training.schedules import Schedules, constant, cosine_schedules, ramp, warmup_cosine

SPANS = st.integers(1, 60).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(0, steps)))


@given(SPANS, st.floats(1e-6, 1.0), st.floats(0.0, 1e-3))
def test_warmup_cosine_equals_a_loop(span: tuple[int, int], peak: float, final: float) -> None:
    steps, warmup = span
    expected = []
    for it in range(steps):
        if it < warmup:
            expected.append(peak * (it + 1) / warmup)
        else:
            share = (it - warmup) / (steps - warmup)
            expected.append(final + (peak - final) * (1 + math.cos(math.pi * share)) / 2)
    np.testing.assert_allclose(warmup_cosine(peak, steps, warmup=warmup, final=final), expected, rtol=1e-12)


@given(SPANS, st.floats(0.9, 0.9999), st.floats(0.9, 1.0))
def test_ramp_equals_a_loop(span: tuple[int, int], start: float, end: float) -> None:
    steps, over = span
    expected = [start + (end - start) * it / over if it < over else end for it in range(steps)]
    np.testing.assert_allclose(ramp(start, end, steps, over=over), expected, rtol=1e-12)


def test_no_step_is_spent_at_a_rate_of_zero() -> None:
    rates = warmup_cosine(1.0, 100, warmup=10)
    assert rates.min() > 0
    assert rates.argmax() == 9 and rates[9] == rates[10] == 1.0


def test_constant_is_constant() -> None:
    assert constant(0.05, 3).tolist() == [0.05, 0.05, 0.05]


def named(rate: list[float], decay: list[float], **own: list[float]) -> Schedules:
    return Schedules({name: np.array(v) for name, v in {"learning_rate": rate, "weight_decay": decay, **own}.items()})


def test_schedules_give_a_step_and_refuse_unequal_lengths() -> None:
    schedules = named([1.0, 2.0], [3.0, 4.0], momentum=[5.0, 6.0])
    assert len(schedules) == 2
    assert schedules.at(1) == {"learning_rate": 2.0, "weight_decay": 4.0, "momentum": 6.0}
    with pytest.raises(AssertionError, match="length"):
        named([0, 0], [0, 0], momentum=[0, 0, 0])
    with pytest.raises(AaspError, match=r"schedule 'mine': shape \(2,\) for 3 steps"):
        cosine_schedules(OptimizerConfig(), 3, {"mine": constant(1.0, 2)})


def test_schedules_follow_one_another() -> None:
    once = named([1.0], [2.0], momentum=[3.0])
    longer = named([0.0, 4.0, 5.0], [0.0, 6.0, 7.0], momentum=[0.0, 8.0, 9.0])
    both = once.then(longer)
    assert len(both) == 3 and both.at(0) == once.at(0)
    assert [both.at(it) for it in (1, 2)] == [longer.at(it) for it in (1, 2)]
