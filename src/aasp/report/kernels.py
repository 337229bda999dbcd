"""The kernels of the SBLU: what a patch is multiplied with, and what that lets through.

S states, K taps a frame apart, weights real + i imag of shape (S, K) as `aasp.stems.sblu.kernel` gives them.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from aasp.report.rates import BAND, OCTAVES, Bounds
from aasp.report.spectrogram import RATE_COLORS
from aasp.report.style import FIRST, MUTED, RULE, SECOND, drawn, legend, panel


@drawn
def kernel_shape(real_K: np.ndarray, imag_K: np.ndarray, *, frame_rate: float, title: str) -> Figure:
    """One kernel over time, centred on its patch."""
    figure, axes = panel(170, title, "weight")
    taps = len(real_K)
    milliseconds = 1000 / frame_rate * (np.arange(taps) - (taps - 1) / 2)
    axes.axhline(0, color=RULE, linewidth=0.8)
    for weights, color, label in ((real_K, FIRST, "real"), (imag_K, SECOND, "imaginary")):
        axes.plot(milliseconds, weights, color=color, marker="o", markersize=2.6, linewidth=1.1, label=label)
    axes.set_xlabel("time from the patch's centre (ms)")
    legend(axes)
    axes.locator_params(axis="y", nbins=4)
    return figure


@drawn
def frequency_responses(
    real_SK: np.ndarray, imag_SK: np.ndarray, beta_hz: np.ndarray, *, frame_rate: float, title: str, band: Bounds = BAND
) -> Figure:
    """What each kernel lets through, in dB below its own peak, coloured by the frequency it was made for.

    Args:
        real_SK: real parts of the weights, shape (S, K).
        imag_SK: imaginary parts, shape (S, K).
        beta_hz: frequency of each state, Hz, shape (S,).
        frame_rate: taps per second.
        title: of the panel.
        band: the alias-prone one, Hz.
    """
    figure, axes = panel(170, title, "gain (dB below its peak)")
    hertz, gain = response(real_SK, imag_SK, frame_rate)
    decibel = 20 * np.log10(np.maximum(gain / gain.max(axis=1, keepdims=True), 1e-4))
    axes.axvspan(*band, color=RULE, alpha=0.35, linewidth=0)
    for curve, color in zip(decibel, RATE_COLORS(LogNorm(*band)(beta_hz)), strict=True):
        axes.plot(hertz, curve, color=color, linewidth=1.1)
    axes.axhline(-3, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_xticks([1, *OCTAVES], ["1", "3.1", "6.3", "12.5", "25", "50"])
    axes.minorticks_off()
    axes.set(xlabel="modulation frequency (Hz)", xlim=(1, 50), ylim=(-24, 1), yticks=[-24, -18, -12, -3, 0])
    return figure


def response(real_SK: np.ndarray, imag_SK: np.ndarray, frame_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude of the Fourier transform of each kernel at 0 to half the frame rate.

    A kernel exp(-i β m) lets the positive side of β through in its inner product with the signal: |Σ w_m e^{iωm}|. A
    real signal has both sides, so the larger of the two counts.

    Returns:
        Frequencies in Hz, shape (512,), and gains, shape (S, 512).
    """
    hertz = np.linspace(0, frame_rate / 2, 512)
    m = np.arange(real_SK.shape[1]) - (real_SK.shape[1] - 1) / 2
    turn = np.exp(2j * np.pi * np.outer(m, hertz) / frame_rate)
    weights = real_SK + 1j * imag_SK
    return hertz, np.maximum(np.abs(weights @ turn), np.abs(weights @ turn.conj()))
