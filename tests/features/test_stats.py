"""The moments of a set are those of all its values together, whatever it was cut into."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aasp.errors import AaspError
from aasp.features.logmel import LogMel, LogMelConfig
from aasp.features.stats import Moments, measure, unnormalised


@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=20), min_size=1, max_size=6), st.floats(-1e6, 1e6))
def test_merged_moments_are_those_of_everything(parts: list[list[float]], offset: float) -> None:
    total = Moments()
    for part in parts:
        total += Moments.of(torch.tensor(part, dtype=torch.float64) + offset)
    values = np.concatenate(parts) + offset
    assert total.count == len(values)
    assert total.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-9)
    assert total.std == pytest.approx(values.std(), rel=1e-6, abs=1e-7)


def test_float32_values_far_from_zero_keep_their_deviation() -> None:
    values = 1000 + torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    parts = Moments()
    for chunk in values.split(1000):
        parts += Moments.of(chunk)
    assert parts.std == pytest.approx(values.double().std(correction=0).item(), rel=1e-9)


def test_nothing_plus_nothing() -> None:
    assert Moments() + Moments() == Moments()


@pytest.mark.parametrize("config", [LogMelConfig.kaldi(), LogMelConfig.slaney80()], ids=["kaldi", "slaney80"])
def test_a_set_normalised_by_its_own_statistics_has_mean_0_and_deviation_1(config: LogMelConfig) -> None:
    random = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(n, generator=random) * torch.rand(1, generator=random) for n in (16_000, 4_000, 30_000)]
    front = unnormalised(config)
    total = sum((measure(front, wave) for wave in waves), Moments())
    assert total.count == config.mels * sum(config.frames(len(wave)) for wave in waves)
    own = LogMel(replace(config, mean=total.mean, std=total.std))
    mel = torch.cat([own(wave[None])[0][0] for wave in waves])
    assert mel.mean().item() == pytest.approx(0, abs=1e-4)
    assert mel.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_a_clip_shorter_than_a_window_has_no_statistics() -> None:
    with pytest.raises(AaspError, match="shorter than one analysis window"):
        measure(unnormalised(LogMelConfig()), torch.zeros(100))
