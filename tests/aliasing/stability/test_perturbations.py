"""Perturbations against closed forms: cuts, amplitude modulation, and the positions of events."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from aasp.aliasing.stability.excerpts import Excerpts, log_power
from aasp.aliasing.stability.perturbations import (
    AmplitudeModulation,
    Perturbation,
    Shift,
    SlowModulation,
    rows,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("frames", [1, 7, 15])
def test_a_shift_is_later_frames_of_the_same_sound(noise: Callable[..., Excerpts], frames: int) -> None:
    clips = noise(2)
    moved = Shift(frames).apply(clips, rng())
    assert torch.equal(log_power(moved)[:, :-frames], log_power(clips.clean)[:, frames:])
    assert Shift(frames).source_seconds(np.array([1.0])) == pytest.approx(1 + frames / 100)


def test_controls_of_one_draw_differ_in_depth_alone(noise: Callable[..., Excerpts]) -> None:
    clips = noise(3)
    gains = [(SlowModulation(0.4, 2.8, d).apply(clips, rng(1)) / clips.clean).log() for d in (1.5, 6.0)]
    swings = [gain - gain.mean(1, keepdim=True) for gain in gains]
    cosines = torch.nn.functional.cosine_similarity(*swings)
    torch.testing.assert_close(cosines, torch.ones(3), atol=1e-4, rtol=0)
    # They are cosines of rates within the band: crossings of the mean, two a cycle.
    crossings = (swings[0].sign().diff(dim=1) != 0).sum(1)
    assert ((crossings >= 1) & (crossings <= 2 * 2.8 * 2.5 + 1)).all()


@pytest.mark.parametrize("row", rows(3.125, 2.5), ids=lambda row: row.key)
def test_every_row_keeps_the_length_and_comes_out_the_same_again(sounds: Excerpts, row: object) -> None:
    made = [torch.cat(list(row.waves(sounds, 0))) for _ in range(2)]  # type: ignore[attr-defined]
    assert made[0].shape == sounds.clean.shape and made[0].dtype == torch.float32
    assert made[0].isfinite().all()
    assert torch.equal(*made)
    assert not torch.equal(made[0], sounds.clean)


def test_rows_cover_the_specified_perturbations() -> None:
    table = rows(3.125, 2.5)
    assert len({row.key for row in table}) == len(table)
    assert [row.perturbation.frames for row in table if row.family == "shift"] == list(range(1, 16))  # type: ignore[attr-defined]
    assert {row.key for row in table if row.family == "slow AM"} == {"AM 1 Hz", "AM 1.7 Hz", "AM 3 Hz"}
    assert {row.key for row in table if row.family == "fast AM"} == {f"AM {f} Hz" for f in (5, 9, 15, 26, 45)}


def test_other_seeds_give_other_phases(noise: Callable[..., Excerpts]) -> None:
    clips = noise(2)
    am: Perturbation = AmplitudeModulation(9.0, 3.0)
    first, second = (am.apply(clips, rng(seed)) / clips.clean for seed in (0, 1))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])
