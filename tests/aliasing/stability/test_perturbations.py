"""Perturbations against naive loops and closed forms: cuts, grains, clocks, and where events end up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from aasp.aliasing.stability import perturbations
from aasp.aliasing.stability.excerpts import HOP, RATE, Excerpts, log_power
from aasp.aliasing.stability.perturbations import (
    AmplitudeModulation,
    FrequencyModulation,
    Jitter,
    Perturbation,
    Shift,
    SlowModulation,
    between,
    granulated,
    rows,
)

SPARE = 16 * HOP


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def one(wave: np.ndarray) -> Excerpts:
    return Excerpts(torch.from_numpy(wave.astype(np.float32))[None], SPARE)


def tone(hertz: float, seconds: float = 2.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * (np.arange(round(seconds * RATE) + 2 * SPARE) - SPARE) / RATE)


@pytest.mark.parametrize("frames", [1, 7, 15])
def test_a_shift_is_later_frames_of_the_same_sound(noise: Callable[..., Excerpts], frames: int) -> None:
    clips = noise(2)
    moved = Shift(frames).apply(clips, rng())
    assert torch.equal(log_power(moved)[:, :-frames], log_power(clips.clean)[:, frames:])
    assert Shift(frames).source_seconds(np.array([1.0])) == pytest.approx(1 + frames / 100)


def test_grains_without_offsets_are_the_clip(noise: Callable[..., Excerpts]) -> None:
    clips = noise(2)
    assert torch.equal(granulated(clips, np.zeros((2, 251))), clips.clean)


def test_grains_of_one_offset_are_a_shift(noise: Callable[..., Excerpts]) -> None:
    clips = noise(2)
    assert torch.equal(granulated(clips, np.full((2, 251), 3 * HOP)), Shift(3).apply(clips, rng()))


def test_grains_are_overlapped_and_added(noise: Callable[..., Excerpts]) -> None:
    clips = noise(1, frames=20)
    offsets = rng().integers(-300, 300, (1, 21))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2 * HOP) / (2 * HOP))
    source, expected = clips.source[0].double().numpy(), np.zeros(22 * HOP)
    for k in range(21):
        for i in range(2 * HOP):
            expected[k * HOP + i] += window[i] * source[SPARE + (k - 1) * HOP + offsets[0, k] + i]
    np.testing.assert_allclose(granulated(clips, offsets)[0].numpy(), expected[HOP : 21 * HOP], atol=1e-6)


def test_a_grain_from_beyond_the_source_is_our_mistake(noise: Callable[..., Excerpts]) -> None:
    with pytest.raises(AssertionError, match="beyond the source"):
        granulated(noise(1), np.full((1, 251), SPARE + 1))


def test_jitter_stays_within_its_reach(noise: Callable[..., Excerpts], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perturbations, "granulated", lambda clips, offset: offset)
    offsets = Jitter(2.0).apply(noise(4), rng())
    assert np.abs(offsets).max() <= 32
    assert offsets.std() == pytest.approx(64 / np.sqrt(12), rel=0.05)


def test_reading_between_samples() -> None:
    source = torch.from_numpy(np.stack([tone(hertz) for hertz in (100.0, 4_000.0, 7_500.0)])).float()
    whole = torch.arange(3_000, 30_000).expand(3, -1)
    torch.testing.assert_close(between(source, whole.double()), source[:, 3_000:30_000], atol=1e-5, rtol=0)
    place = whole + torch.from_numpy(rng().random((3, 27_000)))
    for row, hertz, decibel in ((0, 100.0, -80), (1, 4_000.0, -60), (2, 7_500.0, -40)):
        expected = np.sin(2 * np.pi * hertz * (place[row].numpy() - SPARE) / RATE)
        error = between(source, place)[row].numpy() - expected
        assert 20 * np.log10(np.abs(error).max()) < decibel


def test_frequency_modulation_is_a_swinging_clock() -> None:
    moved = FrequencyModulation(6.0, 0.03).apply(one(tone(1_000)), rng(3))[0].numpy()
    t, phase = np.arange(40_000) / RATE, rng(3).uniform(0, 2 * np.pi, (1, 1))[0, 0]
    clock = t + 0.03 / (2 * np.pi * 6) * np.sin(2 * np.pi * 6 * t + phase)
    np.testing.assert_allclose(moved, np.sin(2 * np.pi * 1_000 * clock), atol=2e-3)
    frequency = 1_000 * np.gradient(clock, t)
    assert frequency.max() == pytest.approx(1_030, rel=1e-3)


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


def test_rows_cover_what_was_asked_for() -> None:
    table = rows(3.125, 2.5)
    assert len({row.key for row in table}) == len(table)
    assert [row.perturbation.frames for row in table if row.family == "shift"] == list(range(1, 16))  # type: ignore[attr-defined]
    assert {row.key for row in table if row.family == "slow AM"} == {"AM 1 Hz", "AM 1.7 Hz", "AM 3 Hz"}
    assert {row.key for row in table if row.family == "fast AM"} == {f"AM {f} Hz" for f in (5, 9, 15, 26, 45)}


def test_other_seeds_other_phases(noise: Callable[..., Excerpts]) -> None:
    clips = noise(2)
    am: Perturbation = AmplitudeModulation(9.0, 3.0)
    first, second = (am.apply(clips, rng(seed)) / clips.clean for seed in (0, 1))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])
