"""What tokens make of a modulation, from their deviations: tokens minus what they are at rest.

Over the phases φ of the modulation a deviation has harmonics, Y_m = mean over φ of d(φ) exp(-i m φ). Y_1 is locked to
the modulation: all there is of a linear stem, and what aliases. Y_0 tells that there is a modulation wherever it
stands, as an envelope does: it is 0 in a linear stem, and can't alias.

Legend: n phases, G tokens over time on which a modulation is periodic, C channels, J shifts. Source: ours.
"""

from __future__ import annotations

import numpy as np


def locked(deviations_nGC: np.ndarray, phases_n: np.ndarray, depth: float) -> np.ndarray:
    """2 |Y_1| / depth of every token and channel, (G, C): |H| of a linear stem."""
    turn = np.exp(-1j * phases_n) / len(phases_n)
    return 2 / depth * np.abs(np.tensordot(turn, deviations_nGC, 1))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def envelope(deviations_nGC: np.ndarray, depth: float) -> float:
    """Root mean square of Y_0 over tokens and channels, over the depth."""
    return rms(deviations_nGC.mean(0)) / depth


def phase_variance(deviations_nGC: np.ndarray, group: int) -> float:
    """How much a token's energy depends on the modulation's phase: its deviation over phases, over its mean.

    0 for an envelope, 1/√2 for a single linear channel; in a linear stem |Σ H²| / (√2 Σ |H|²) over a token's channels.
    Tokens are weighted by their mean energy.

    Args:
        deviations_nGC: of phases evenly over the circle.
        group: channels of one token.
    """
    energy = np.square(deviations_nGC).reshape(*deviations_nGC.shape[:2], -1, group).sum(-1)
    return float(energy.std(0).sum() / energy.mean(0).sum())


def fold(deviations_nGC: np.ndarray) -> np.ndarray:
    """Energy of the tokens at each frequency of their own, 0 to half the token rate, (G // 2 + 1,), mean over phases.

    It sums to the mean square of the deviations.
    """
    tokens = deviations_nGC.shape[1]
    energy = np.square(np.abs(np.fft.rfft(deviations_nGC, axis=1))).mean((0, 2)) / tokens**2
    energy[1 : (tokens + 1) // 2] *= 2  # a real signal has each of these on both sides
    return energy


def shift_error(shifted_JGC: np.ndarray) -> float:
    """Energy by which tokens move otherwise than the sound does: mean over J shifts of |T(shift x) - shift T(x)|².

    Over the energy of T(x) it is the shift-variance index: 0 where tokens move as the sound does, 2 where they move
    as if it were another. A linear stem has 2 (1 - mean over j of cos(2π k j / J)) for modulations that fold k times:
    0 below the post-patch Nyquist, 2 above.

    Args:
        shifted_JGC: deviations with the sound delayed by j / J of a token period, j = 0 … J - 1.
    """
    count, tokens, _ = shifted_JGC.shape
    delay = np.arange(count)[:, None] / count * np.fft.rfftfreq(tokens)
    moved = np.fft.rfft(shifted_JGC[0], axis=0) * np.exp(-2j * np.pi * delay)[..., None]
    return float(np.square(shifted_JGC - np.fft.irfft(moved, n=tokens, axis=1)).mean())
