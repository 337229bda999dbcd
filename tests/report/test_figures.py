"""Curves, rates, kernels and maps show the numbers that they are given, with units."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from aasp.report.figures import embedding_map, frequency_responses, kernel_shape, response
from aasp.report.learning import metric_curves
from aasp.report.rates import (
    BAND,
    decay_histogram,
    decay_over_frequency,
    density,
    found_against_true,
    frequency_histogram,
    octaves,
    shares,
)
from aasp.stems.sblu import kernel


def texts(svg: str) -> set[str]:
    return set(re.findall(r"<text[^>]*>([^<]+)</text>", svg))


def test_metric_curves_of_logged_metrics():
    metrics = [{"step": k, "losses/frame": 1 / k, "diagnostics/embedding_rank": None} for k in (10, 20, 30)]
    metrics[1]["losses/utterance"] = 0.5
    (only,) = metric_curves(metrics)
    assert {"Predicting what is hidden", "frame loss", "optimizer step", "0.0333", "0", "30"} <= texts(only)


def test_a_value_that_is_not_finite_leaves_a_gap():
    metrics = [{"step": k, "losses/frame": value} for k, value in ((1, 0.9), (2, None), (3, 0.7))]
    (only,) = metric_curves(metrics)
    assert "0.7" in texts(only)


def test_rates_have_units():
    rng = np.random.default_rng(0)
    alpha, beta = rng.uniform(0.05, 0.9, (2, 5, 8, 4)), rng.uniform(4, 45, (2, 5, 8, 4))
    start = (np.full(4, 0.2), np.array([4.0, 9, 20, 40]))
    assert {"frequency β (Hz)", "share of states (%)", "trained", "untrained"} <= texts(
        frequency_histogram(shares(beta, BAND), shares(beta + 1, BAND), title="")
    )
    assert {"decay α (per frame)", "share of states (%)", "0.05"} <= texts(
        decay_histogram(*2 * [shares(alpha, (0.02, 1.0))], title="", bounds=(0.02, 1.0))
    )
    counts = density(alpha, beta, (0.02, 1.0))
    assert {"frequency β (Hz)", "decay α (per frame)", "before training"} <= texts(
        decay_over_frequency(counts, start=start, bounds=(0.02, 1.0), title="")
    )
    assert {"true modulation rate (Hz)", "rate of the strongest state (Hz)"} <= texts(
        found_against_true([3.8, 9.8], [beta[0].ravel(), beta[1].ravel()], title="")
    )


def test_every_value_is_counted():
    values = np.array([3.125 - 1e-6, 3.2, 12.5, 50, 50 + 1e-6])
    assert shares(values, BAND).sum() == pytest.approx(1) and shares(values, BAND)[[0, -1]] == pytest.approx(0.4)
    counts = density(np.full(5, 0.02), values, (0.02, 1.0))
    assert counts.sum() == 5 and counts[0, 0] == counts[-1, 0] == 2


def test_bands_of_other_patches_have_ticks_too():
    assert octaves(BAND) == [3.125, 6.25, 12.5, 25, 50] and octaves((2.5, 20)) == [2.5, 5, 10, 20]
    svg = frequency_histogram(*2 * [shares(np.array([6.0, 7]), (2.5, 20))], title="", band=(2.5, 20))
    assert {"2.5", "5", "10", "20"} <= texts(svg) and "50" not in texts(svg)


@pytest.mark.parametrize("hertz", [6.25, 12.5, 31.0])
def test_a_kernel_lets_its_frequency_through(hertz):
    alpha, beta = torch.tensor([0.05]), torch.tensor([2 * np.pi * hertz / 100])
    real, imag = kernel(alpha, beta, 64, phase="conjugate", window="two-sided", gain="unit")
    frequencies, gain = response(real.numpy(), imag.numpy(), 100.0)
    assert frequencies[0] == 0 and frequencies[-1] == 50
    assert frequencies[gain[0].argmax()] == pytest.approx(hertz, abs=0.5)


def test_response_is_the_largest_answer_to_a_tone():
    rng = np.random.default_rng(1)
    real, imag = rng.normal(size=(2, 3, 8))
    frequencies, gain = response(real, imag, 100.0)
    for k in (0, 100, 511):
        phase = 2 * np.pi * frequencies[k] / 100 * (np.arange(8) - 3.5)
        sides = [np.abs(((real + 1j * imag) * np.exp(sign * 1j * phase)).sum(1)) for sign in (1, -1)]
        assert gain[:, k] == pytest.approx(np.maximum(*sides))


def test_kernel_figures_have_units():
    alpha, beta = torch.full((4,), 0.2), torch.tensor([0.3, 0.8, 1.5, 3.0])
    real, imag = (part.numpy() for part in kernel(alpha, beta, 16, phase="even", window="hann", gain="paper"))
    shape = kernel_shape(real[0], imag[0], frame_rate=100.0, title="")
    assert {"time from the patch's centre (ms)", "weight", "real", "imaginary"} <= texts(shape.replace("&#39;", "'"))
    hertz = 100 * beta.numpy() / (2 * np.pi)
    lines = frequency_responses(real, imag, hertz, frame_rate=100.0, title="")
    assert {"modulation frequency (Hz)", "gain (dB below its peak)"} <= texts(lines)


def test_a_map_names_its_labels():
    labels = np.repeat(["bass", "flute", "reed"], 20)
    points = np.random.default_rng(0).normal(size=(60, 2))
    assert {"bass", "flute", "reed", "Here"} <= texts(embedding_map(points, labels, title="Here"))
