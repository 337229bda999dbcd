"""Measures against naive loops, and on sets known to be equal."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from aasp.aliasing.stability.measure import MEASURES, Alignment, Embedded, control_at, interpolated


def embeddings(n: int = 9, G: int = 5, D: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 3 + rng.standard_normal((n, D)), 3 + rng.standard_normal((n, G, D))


SECONDS = 0.08 + 0.16 * np.arange(5)


def naive_cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.sqrt(x @ x) / np.sqrt(y @ y))


def test_measures_by_naive_loops() -> None:
    clip, timestamps = embeddings()
    rng = np.random.default_rng(1)
    moved = clip + 0.3 * rng.standard_normal(clip.shape)
    moved_over_time = timestamps + 0.3 * rng.random(timestamps.shape)
    found = Embedded(clip, timestamps, SECONDS).compare(Embedded(moved, moved_over_time, SECONDS), SECONDS)
    centre, typical = clip.mean(0), np.median([np.linalg.norm(a - b) for a, b in combinations(clip, 2)])
    middle = timestamps.reshape(-1, 6).mean(0)
    over_time = np.median(
        [np.median([np.linalg.norm(a - b) for a, b in combinations(timestamps[:, g], 2)]) for g in range(5)]
    )
    assert set(found) == set(MEASURES)
    for i in range(9):
        assert found["cosine"][i] == pytest.approx(naive_cosine(moved[i] - centre, clip[i] - centre))
        assert found["cosine_raw"][i] == pytest.approx(naive_cosine(moved[i], clip[i]))
        assert found["distance"][i] == pytest.approx(np.linalg.norm(moved[i] - clip[i]) / typical)
        pairs = list(zip(moved_over_time[i], timestamps[i], strict=True))
        cosines = [naive_cosine(a - middle, b - middle) for a, b in pairs]
        assert found["timestamps_cosine"][i] == pytest.approx(np.mean(cosines))
        distances = [np.linalg.norm(a - b) / over_time for a, b in pairs]
        assert found["timestamps_distance"][i] == pytest.approx(np.mean(distances))


def test_timestamps_are_compared_at_shifted_times() -> None:
    """Tokens linear in time, shifted by 50 ms, agree with the clean ones, except the last, which is unknown."""
    clip, _ = embeddings()
    slope = np.random.default_rng(2).standard_normal((9, 1, 6))
    line = lambda seconds: 1 + slope * seconds[None, :, None]
    clean, moved = (Embedded(clip, line(SECONDS + later), SECONDS) for later in (0, 0.05))
    np.testing.assert_allclose(clean.compare(moved, SECONDS + 0.05)["timestamps_distance"], 0, atol=1e-12)
    assert (clean.compare(moved, SECONDS)["timestamps_distance"] > 0.01).all()


def test_interpolation_is_numpy_s() -> None:
    _, timestamps = embeddings()
    wanted = np.array([0.08, 0.1, 0.4, 0.71, 0.72])
    found = interpolated(timestamps, SECONDS, wanted)
    for n, d in np.ndindex(9, 6):
        np.testing.assert_allclose(found[n, :, d], np.interp(wanted, SECONDS, timestamps[n, :, d]))


def test_the_control_is_linear_between_strengths_and_unknown_beyond() -> None:
    strengths = np.array([[1.0, 2.0], [3.0, 4.0]])
    values = np.array([[0.1, 0.2], [0.5, 0.3]])
    at = lambda *decibel: control_at(np.array(decibel), strengths, values, at_rest=0.0)
    np.testing.assert_allclose(at(0.5, 3.0), [0.05, 0.25])
    np.testing.assert_allclose(at(2.0, 1.0), [0.3, 0.1])
    np.testing.assert_allclose(at(3.0, 4.1), [0.5, np.nan])
    np.testing.assert_allclose(control_at(np.zeros(2), strengths, values, at_rest=1.0), 1.0)


def naive_alignment(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Means over all different clips i, j, q, r, by their definition."""
    K, L = x @ x.T, y @ y.T
    i, j, q, r = np.array(list(permutations(range(len(x)), 4))).T
    weight = weights[i] * weights[j] * weights[q] * weights[r]
    criterion = lambda K, L: np.average(K[i, j] * L[i, j] - 2 * K[i, j] * L[i, q] + K[i, j] * L[q, r], weights=weight)
    return criterion(K, L) / np.sqrt(criterion(K, K) * criterion(L, L))


def test_alignment_by_its_definition_and_with_weights() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 5)), rng.standard_normal((12, 7))
    y[:, :5] += x
    weights = rng.integers(0, 4, 12)
    for given in (np.ones(12), weights):
        assert Alignment(x, y)(given) == pytest.approx(naive_alignment(x, y, given))
    assert np.isnan(Alignment(x, y)(np.eye(12)[:3].sum(0)))


def test_alignment_is_blind_to_rotation_translation_and_scale() -> None:
    rng = np.random.default_rng(0)
    x, rotation = rng.standard_normal((12, 5)), np.linalg.qr(rng.standard_normal((5, 5)))[0]
    assert Alignment(x, 3 * x @ rotation + 100)(np.ones(12)) == pytest.approx(1)
