"""The low-pass keeps what does not alias and removes what would, for patches of any length."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.aliasing.ablation.suite import SUITES
from aasp.stems.lowpass import LowpassConfig
from aasp.stems.polyphase import PolyphaseConfig

FRAME_RATE = 100


def gain(taps: np.ndarray, hertz: float) -> float:
    """The filter's amplitude response, by its definition."""
    return abs(sum(tap * np.exp(-2j * np.pi * hertz * n / FRAME_RATE) for n, tap in enumerate(taps)))


@pytest.mark.parametrize("patch", [(4, 64), (8, 32), (16, 16), (32, 8)])
def test_amplitudes_are_halved_just_below_the_post_patch_nyquist_frequency(patch: tuple[int, int]) -> None:
    (taps,) = LowpassConfig(patch=patch).build(8, 64).filters.numpy()
    nyquist = FRAME_RATE / patch[0] / 2
    assert gain(taps, FRAME_RATE / (2 * patch[0] + 2)) == pytest.approx(0.5, abs=0.01)
    assert gain(taps, nyquist) < 0.5
    assert max(gain(taps, hertz) for hertz in np.linspace(2 * nyquist, FRAME_RATE / 2, 200)) < 0.03
    assert PolyphaseConfig(patch=patch, offsets=2).build(8, 64).filters.shape == (1, 1)  # no filter


def test_the_low_passes_of_the_isolation_suite_have_the_length_of_its_patches() -> None:
    stems = {cell.name: cell.recipe(1, 0).model.stem for suite in SUITES.values() for cell in suite}
    assert stems["lowpass"].reach == stems["lowpass-trained"].reach == 24
