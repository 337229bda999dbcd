"""The gradient at a distance: against finite differences of the definition, and against the figures known before."""

from __future__ import annotations

import numpy as np
import pytest

from aasp.aliasing.kernels.frequency_gradient import (
    ALPHA,
    DISTANCES,
    PHASES,
    TONE,
    frequency_gradient,
    frequency_gradients,
)

AT = (0.1, 0.4, 0.8, 1.3)


def by_hand(envelope: np.ndarray, m: np.ndarray, distances: tuple[float, ...], *, even: bool = False) -> np.ndarray:
    """Mean |d |y|^2 / d beta| of a sampled window without a hold, by central differences."""
    envelope = envelope / np.sqrt(np.sum(envelope**2))
    offset = np.abs(m) if even else m

    def power(beta: float, phase: float) -> float:
        return np.abs(np.sum(envelope * np.exp(-1j * beta * offset) * np.cos(TONE * m + phase))) ** 2

    def slope(beta: float, phase: float) -> float:
        return (power(beta + 1e-5, phase) - power(beta - 1e-5, phase)) / 2e-5

    phases = 2 * np.pi * np.arange(PHASES) / PHASES
    return np.array([np.mean([[abs(slope(TONE + s * d, p)) for p in phases] for s in (1, -1)]) for d in distances])


M = np.arange(64) - 31.5


def test_the_one_sided_and_the_even_window_tie():
    known = [3.00, 1.91, 0.431, 0.079]
    assert frequency_gradient(64, "one-sided", "conjugate", AT)[0] == pytest.approx(known, rel=0.01)
    assert frequency_gradient(64, "two-sided", "even", AT)[0] == pytest.approx(known, rel=0.01)
    assert by_hand(np.exp(-ALPHA * np.abs(M)), M, AT, even=True) == pytest.approx(known, rel=0.01)


def test_the_conjugate_window_differs_from_its_samples_by_the_hold():
    known = [10.92, 2.77, 0.217, 0.0194]
    sampled = by_hand(np.exp(-ALPHA * np.abs(M)), M, AT)
    assert sampled == pytest.approx(known, rel=0.01)
    ours = frequency_gradient(64, "two-sided", "conjugate", AT)[0]
    # The hold's factor 2 sinh(x) / Lambda turns with beta, opposite on the two sides: small, except far away.
    assert ours[:3] == pytest.approx(known[:3], rel=0.07) and ours[3] == pytest.approx(known[3], rel=0.35)


@pytest.mark.parametrize(
    ("window", "envelope"),
    [
        ("gaussian", np.exp(-0.5 * (ALPHA * M / 1.294) ** 2)),
        ("hann", np.where(np.abs(M) <= 7.03 / ALPHA / 2, 0.5 + 0.5 * np.cos(2 * np.pi * M * ALPHA / 7.03), 0)),
        ("rectangular", (np.abs(M) <= 4.32 / ALPHA / 2).astype(float)),
    ],
)
def test_controls_against_their_definition(window, envelope):
    conjugate = by_hand(envelope, M, AT)
    assert frequency_gradient(64, window, "conjugate", AT)[0] == pytest.approx(conjugate, rel=1e-3, abs=1e-7)
    even = by_hand(envelope, M, AT, even=True)
    assert frequency_gradient(64, window, "even", AT)[0] == pytest.approx(even, rel=1e-3, abs=1e-7)


def test_the_controls_known_before_are_of_other_widths():
    gaussian = by_hand(np.exp(-0.5 * (M * ALPHA) ** 2 / 2), M, AT[:3])  # deviation sqrt(2) / alpha
    assert gaussian == pytest.approx([14.87, 2.12, 1e-4], rel=0.02)
    hann = by_hand(0.5 + 0.5 * np.cos(2 * np.pi * M / 65), M, AT[:2])  # over all of the window
    assert hann == pytest.approx([79.2, 0.005], rel=0.1)


def test_the_windows_compare_as_the_report_states():
    gradient = lambda window, distance: frequency_gradient(64, window, "conjugate", [distance])[0][0]
    far = {w: gradient(w, 1.0) for w in ("two-sided", "one-sided", "gaussian", "hann")}
    assert far["two-sided"] > 20 * max(far["gaussian"], far["hann"]) and far["one-sided"] > far["two-sided"]
    near = {w: gradient(w, 0.1) for w in ("two-sided", "one-sided")}
    assert near["two-sided"] > 3 * near["one-sided"]
    size, towards = frequency_gradient(16, "two-sided", "conjugate", [0.8])
    assert towards[0] < 0.2 * size[0] < 0.05  # a patch's 16 frames cut it off


def test_json():
    found = frequency_gradients()
    assert len(found["rows"]) == 3 * 9 and all(len(row["size"]) == len(DISTANCES) for row in found["rows"])
    for row in found["rows"]:
        assert (np.abs(row["towards"]) <= np.array(row["size"]) * (1 + 1e-9)).all()
