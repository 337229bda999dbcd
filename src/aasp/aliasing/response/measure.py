"""What tokens make of a modulation, from their deviations: tokens minus what they are at rest.

Over the phases φ of the modulation a deviation has harmonics, Y_m = mean over φ of d(φ) exp(-i m φ). Y_1 is locked to
the modulation: all there is of a linear stem, and what aliases. Y_0 tells that there is a modulation wherever it
stands, as an envelope does: it is 0 in a linear stem, and can't alias.

Legend: n phases, G tokens over time on which a modulation is periodic, C channels, J shifts. Source: ours.

Where a model is read: its SBLU's states, its stem's tokens, its encoder's.

Legend: B clips, T frames, M mel bins, S samples, G time patches, C channels of all tokens of a time patch.

One adapter's response to pure modulations: for every stage and frequency, measured, and where it can be, expected.

Legend: F subbands, S states, G inner tokens, C channels, n phases, J shifts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.adapters import EncoderAdapter, LogMelAdapter, StemAdapter
from aasp.aliasing.response import theory
from aasp.aliasing.response.stimuli import BAND, MelModulations, Modulations, Settings, WaveModulations, alias
from aasp.errors import AaspError
from aasp.model.pooling import over_frequency
from aasp.stems.states import States


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


@dataclass(frozen=True)
class Stage:
    """A place in a model.

    Attributes:
        name: "states", "stem" or "encoder".
        read: stimuli (log-mels (B, T, M), or waveforms (B, S)) to tokens (B, G, C).
        group: how many neighbouring channels of C are one token (or one state's two parts).
    """

    name: str
    read: Callable[[Tensor], Tensor]
    group: int


def stages(adapter: EncoderAdapter, wanted: tuple[str, ...]) -> list[Stage]:
    """Those stages of an adapter that are wanted and that there are.

    Args:
        adapter: who is examined.
        wanted: "stem" (with the states before it, of a stem that has some), "encoder".

    Raises:
        AaspError: there are none: a waveform's encoder has no stem, a stem no encoder.
    """
    found = []
    if isinstance(adapter, LogMelAdapter):
        stem = adapter.stem
        if "stem" in wanted and (inner := stem.states) is not None:
            found.append(Stage("states", lambda mel_BTM: states(inner, mel_BTM), 2))
        if "stem" in wanted:
            read = lambda mel_BTM: over_frequency(stem(mel_BTM), stem.subbands, flat=True)
            found.append(Stage("stem", read, stem.width))
        if "encoder" in wanted and not isinstance(adapter, StemAdapter):
            found.append(Stage("encoder", lambda mel_BTM: adapter.embed_logmel(mel_BTM).timestamps, stem.width))
    elif "encoder" in wanted:
        width = adapter.embed_waveform(0.1 * torch.randn(1, adapter.rate)).timestamps.shape[-1]
        found.append(Stage("encoder", lambda wave_BS: adapter.embed_waveform(wave_BS).timestamps, width))
    if not found:
        raise AaspError(f"{adapter.name}: has no {' or '.join(wanted)} to look at; leave out --stage {wanted[0]}")
    return found


def states(stem: States, mel_BTM: Tensor) -> Tensor:
    """Real and imaginary part of every state, before fusion, (B, G, F S 2)."""
    return torch.stack(stem.responses(mel_BTM), dim=-1).flatten(2)


PHASES, SUBBAND_PHASES = 8, 4
SILENT = 1e-12
"""Mean square of deviations that single precision can't tell from none."""


def modulations(adapter: EncoderAdapter, settings: Settings) -> Modulations:
    """The stimuli that suit an adapter.

    Raises:
        AaspError: it gives nothing over time, or sees too much of it at once.
    """
    if not adapter.token_rate:
        raise AaspError(f"{adapter.name}: gives one vector a clip; a response needs an encoder with vectors over time")
    made = MelModulations if isinstance(adapter, LogMelAdapter) else WaveModulations
    return made(adapter, settings)  # type: ignore[arg-type]


@torch.inference_mode()
def respond(
    adapter: EncoderAdapter, stage: Stage, settings: Settings, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The response of one stage, as JSON values.

    Args:
        adapter: who is examined.
        stage: of it.
        settings: how modulations are put in.
        progress: called after each frequency.
    """
    stimuli, depth = modulations(adapter, settings), settings.depth
    rest = stimuli.inner(stage.read(stimuli.rest()))
    folds = max(8, round(BAND[1] / stimuli.token_rate) + 1)  # shifts: more than a modulation can fold
    phases = 2 * np.pi * np.arange(PHASES) / PHASES
    delays = np.arange(1, folds) / folds / stimuli.token_rate
    apart = stage.name == "stem" and _apart(stage, stimuli, rest)
    rows = []
    for hz in stimuli.hz:
        given = np.concatenate([phases, -2 * np.pi * hz * delays])
        deviations = stimuli.inner(stage.read(stimuli.make(hz, given.tolist()))) - rest
        turned, shifted = deviations[:PHASES], np.concatenate([deviations[:1], deviations[PHASES:]])
        response_GC, energy = locked(turned, phases, depth), fold(turned)
        rows.append(
            {
                "gain": rms(response_GC),
                "envelope": envelope(turned, depth),
                "phase_variance": phase_variance(turned, stage.group) if energy.sum() > SILENT else None,
                "fold": energy,
                "shift_error": shift_error(shifted),
                "shift_energy": float(np.square(shifted[0]).mean()),
                "locked_C": np.sqrt(np.square(response_GC).mean(0)),
            }
        )
        if stage.name == "stem" and apart:
            by_subband = np.square(response_GC).reshape(len(response_GC), stimuli.subbands, -1)
            rows[-1]["gain_by_subband"] = np.sqrt(by_subband.mean((0, 2))).tolist()
        elif stage.name == "stem":
            rows[-1]["gain_by_subband"] = _by_subband(stage, stimuli, hz, depth, rest)
        progress()
    return _summarised(adapter, stage, stimuli, rows)


def _apart(stage: Stage, stimuli: Modulations, rest: np.ndarray) -> bool:
    """Whether a modulation of one subband moves the tokens of that subband only: then all can be measured at once."""
    for subband in range(stimuli.subbands):
        deviations = stimuli.inner(stage.read(stimuli.make(stimuli.hz[-1], [0.0], subband))) - rest
        others = np.delete(deviations.reshape(stimuli.tokens, stimuli.subbands, -1), subband, axis=1)
        if np.square(others).sum() > SILENT * np.square(deviations).sum():
            return False
    return True


def _by_subband(stage: Stage, stimuli: Modulations, hz: float, depth: float, rest: np.ndarray) -> list[float]:
    """The locked gain of a modulation of one subband alone, as all tokens show it, over the width of one."""
    phases = 2 * np.pi * np.arange(SUBBAND_PHASES) / SUBBAND_PHASES
    gains = []
    for subband in range(stimuli.subbands):
        deviations = stimuli.inner(stage.read(stimuli.make(hz, phases.tolist(), subband))) - rest
        gains.append(rms(locked(deviations, phases, depth)) * math.sqrt(stimuli.subbands))
    return gains


def _summarised(
    adapter: EncoderAdapter, stage: Stage, stimuli: Modulations, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    hz, fold = stimuli.hz, np.stack([row["fold"] for row in rows])
    energy, error = (np.array([row[name] for row in rows]) for name in ("shift_energy", "shift_error"))
    total = fold.sum(1)
    aliased = alias(hz, stimuli.token_rate)
    bins = np.round(aliased * stimuli.tokens / stimuli.token_rate).astype(int)
    share = fold / np.where(total > 0, total, 1)[:, None]
    above = hz > stimuli.token_rate / 2
    gain = np.array([row["gain"] for row in rows])
    found: dict[str, Any] = {
        "stage": stage.name,
        "hz": hz.tolist(),
        "alias_hz": aliased.tolist(),
        **{name: [row[name] for row in rows] for name in ("gain", "envelope", "phase_variance")},
        "gain_by_subband": [row["gain_by_subband"] for row in rows] if "gain_by_subband" in rows[0] else None,
        "shift_variance": [float(e / x) if x > SILENT else None for e, x in zip(error, energy, strict=True)],
        "token_hz": (np.arange(fold.shape[1]) * stimuli.token_rate / stimuli.tokens).tolist(),
        "fold": share.tolist(),
        "alias_share": share[np.arange(len(hz)), bins].tolist(),
        "summary": {
            "gain_below": rms(gain[~above]) if (~above).any() else None,
            "gain_above": rms(gain[above]) if above.any() else None,
            "shift_variance_above": _ratio(error[above], energy[above]),
            "shift_variance": _ratio(error, energy),
            "alias_share_above": _ratio(fold[above, bins[above]], total[above]),
        },
    }
    if isinstance(adapter, LogMelAdapter) and stage.name != "encoder":
        found |= _expected(adapter, stage, stimuli, rows)
    return found


def _ratio(part: np.ndarray, whole: np.ndarray) -> float | None:
    """Of the sums; None where there is nothing."""
    return float(part.sum() / whole.sum()) if whole.sum() > SILENT else None


def _expected(adapter: LogMelAdapter, stage: Stage, stimuli: Modulations, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The Fourier transform of the taps, in the form of what was measured."""
    rate, stem = adapter.frontend.config.frame_rate, adapter.stem
    if stage.name == "states" and stem.states is not None:
        return _states_expected(stem.states, stimuli, rows, rate)
    if not theory.is_linear(stem):
        return {"linear": False, "theory": None}
    H = np.stack([theory.transform(taps, stimuli.hz, rate) for taps in theory.impulse_responses(stem)])
    alone = np.sqrt(np.square(np.abs(H)).sum(2) / stem.width)  # (subband put in, frequency)
    together = np.sqrt(np.square(np.abs(H.sum(0))).mean(1))
    return {"linear": True, "theory": together.tolist(), "theory_by_subband": alone.T.tolist()}


def _states_expected(stem: States, stimuli: Modulations, rows: list[dict[str, Any]], rate: float) -> dict[str, Any]:
    """Of each state, with the decay and frequency that are estimated, on the mean, for this very modulation."""
    phases = (2 * np.pi * np.arange(PHASES) / PHASES).tolist()
    shape = (stem.subbands, stem.count)
    pairs = lambda x: np.sqrt(np.square(np.abs(x)).reshape(*shape, 2).sum(-1))
    expected, measured, limits, beta_hz = [], [], [], []
    for hz, row in zip(stimuli.hz, rows, strict=True):
        inner = slice(stimuli.margin, stimuli.margin + stimuli.tokens)
        alpha, beta = (x[:, inner].mean((0, 1)) for x in stem.estimate(stimuli.make(hz, phases)))
        expected.append(pairs(theory.transform(theory.state_taps(stem, alpha, beta), np.array([hz]), rate)[0]))
        measured.append(pairs(row["locked_C"]))
        limit = theory.long_window(stem, alpha, beta, np.array([hz]), rate)
        limits.append(None if limit is None else limit.reshape(shape))
        beta_hz.append(beta * rate / (2 * math.pi))
    rms = lambda per_state: [float(np.sqrt(np.square(x).sum() / (2 * x.size))) for x in per_state]
    middle = stem.subbands // 2
    return {
        "linear": stem.trained != "estimated",
        "theory": rms(expected),
        "long_window": None if limits[0] is None else rms(limits),
        "states": {
            "subband": middle,
            "beta_hz": torch.stack(beta_hz).mean(0)[middle].tolist(),
            "measured": np.stack(measured)[:, middle].tolist(),
            "theory": np.stack(expected)[:, middle].tolist(),
        },
    }
