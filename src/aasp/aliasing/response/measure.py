"""What tokens make of a modulation, from their deviations: tokens minus what they are at rest.

Over the phases φ of the modulation a deviation has harmonics, Y_m = mean over φ of d(φ) exp(-i m φ). Y_1 is locked to
the modulation: all there is of a linear stem, and what aliases. Y_0 shows that there is a modulation whatever its
phase, as an envelope does: it is 0 in a linear stem, and can't alias.

Legend: B clips, T frames, M mel bins, S samples, n phases, G tokens over time on which a modulation is periodic, F
subbands, C channels of all tokens of a time patch, J shifts. Source: ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.response import theory
from aasp.aliasing.response.stimuli import BAND, MelModulations, Modulations, Settings, WaveModulations, alias
from aasp.encoders import EncoderAdapter, LogMelAdapter, StemAdapter
from aasp.errors import AaspError
from aasp.model.pooling import over_frequency
from aasp.stems.states import States

PHASES, SUBBAND_PHASES = 8, 4
SILENT = 1e-12
"""Mean square of deviations that single precision can't tell from none."""


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def locked(deviations_nGC: np.ndarray, phases_n: np.ndarray, depth: float) -> np.ndarray:
    """2 |Y_1| / depth of every token and channel, (G, C): |H| of a linear stem."""
    turn = np.exp(-1j * phases_n) / len(phases_n)
    return 2 / depth * np.abs(np.tensordot(turn, deviations_nGC, 1))


def envelope(deviations_nGC: np.ndarray, depth: float) -> float:
    """Root mean square of Y_0 over tokens and channels, over the depth."""
    return rms(deviations_nGC.mean(0)) / depth


def phase_variance(deviations_nGC: np.ndarray, group: int) -> float:
    """Deviation over evenly spread phases of a token's energy, over its mean; a token is `group` neighbouring channels.

    0 for an envelope, 1/√2 for a single linear channel; in a linear stem |Σ H²| / (√2 Σ |H|²) over a token's channels.
    Tokens are weighted by their mean energy.
    """
    energy = np.square(deviations_nGC).reshape(*deviations_nGC.shape[:2], -1, group).sum(-1)
    return float(energy.std(0).sum() / energy.mean(0).sum())


def fold(deviations_nGC: np.ndarray) -> np.ndarray:
    """Energy at each frequency of the tokens, 0 to half their rate, (G // 2 + 1,): sums to their mean square."""
    tokens = deviations_nGC.shape[1]
    energy = np.square(np.abs(np.fft.rfft(deviations_nGC, axis=1))).mean((0, 2)) / tokens**2
    energy[1 : (tokens + 1) // 2] *= 2  # a real signal has each of these on both sides
    return energy


def shift_error(shifted_JGC: np.ndarray) -> float:
    """Mean over J shifts, by j / J of a token, of |T(shift x) - shift T(x)|²; the j-th row has the sound delayed so.

    Over the energy of T(x) it is the shift-variance index: 0 where tokens move as the sound does, 2 where they move as
    if it were another. A linear stem has 2 (1 - mean over j of cos(2π k j / J)) for modulations that fold k times: 0
    below the post-patch Nyquist, 2 above.
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
    """The stages "stem" (with the states before it, if it has some) and "encoder", if wanted and there.

    Raises:
        AaspError: there are none: an encoder of waveforms has no stem, a stem no encoder.
    """
    found = []
    if isinstance(adapter, LogMelAdapter):
        stem = adapter.stem
        if "stem" in wanted:
            if (inner := stem.states) is not None:
                found.append(Stage("states", lambda mel_BTM: states(inner, mel_BTM), 2))
            found.append(Stage("stem", lambda mel: over_frequency(stem(mel), stem.subbands, flat=True), stem.width))
        if "encoder" in wanted and not isinstance(adapter, StemAdapter):
            found.append(Stage("encoder", lambda mel_BTM: adapter.embed_logmel(mel_BTM).timestamps, stem.width))
    elif "encoder" in wanted:
        read = lambda wave_BS: adapter.embed_waveform(wave_BS).timestamps
        found.append(Stage("encoder", read, read(0.1 * torch.randn(1, adapter.rate)).shape[-1]))
    if not found:
        raise AaspError(f"{adapter.name}: has no {' or '.join(wanted)} to look at; leave out --stage {wanted[0]}")
    return found


def states(stem: States, mel_BTM: Tensor) -> Tensor:
    """Real and imaginary part of every state, before fusion, (B, G, F S 2)."""
    return torch.stack(stem.responses(mel_BTM), dim=-1).flatten(2)


def modulations(adapter: EncoderAdapter, settings: Settings) -> Modulations:
    """The stimuli that suit an adapter.

    Raises:
        AaspError: it gives nothing over time, or its receptive field is most of the clip.
    """
    if not adapter.token_rate:
        raise AaspError(f"{adapter.name}: gives one vector a clip; a response needs an encoder with vectors over time")
    return (
        MelModulations(adapter, settings) if isinstance(adapter, LogMelAdapter) else WaveModulations(adapter, settings)
    )


@torch.inference_mode()
def respond(
    adapter: EncoderAdapter, stage: Stage, settings: Settings, progress: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """The response of one stage of an adapter, as JSON values; `progress` is called after each frequency."""
    stimuli, depth = modulations(adapter, settings), settings.depth
    rest = stimuli.inner(stage.read(stimuli.rest()))
    deviations = lambda *given: stimuli.inner(stage.read(stimuli.make(*given))) - rest
    count = max(8, round(BAND[1] / stimuli.token_rate) + 1)  # shifts: more than a modulation can fold
    phases = 2 * np.pi * np.arange(PHASES) / PHASES
    delays = np.arange(1, count) / count / stimuli.token_rate
    apart = stage.name == "stem" and _apart(deviations, stimuli)
    rows = []
    for hz in stimuli.hz:
        moved = deviations(hz, np.concatenate([phases, -2 * np.pi * hz * delays]).tolist())
        turned, shifted = moved[:PHASES], np.concatenate([moved[:1], moved[PHASES:]])
        gain_GC, energy = locked(turned, phases, depth), fold(turned)
        rows.append(
            {
                "gain": rms(gain_GC),
                "envelope": envelope(turned, depth),
                "phase_variance": phase_variance(turned, stage.group) if energy.sum() > SILENT else None,
                "fold": energy,
                "shift_error": shift_error(shifted),
                "shift_energy": float(np.square(shifted[0]).mean()),
                "locked_C": np.sqrt(np.square(gain_GC).mean(0)),
            }
        )
        if stage.name == "stem" and apart:
            by_subband = np.square(gain_GC).reshape(len(gain_GC), stimuli.subbands, -1)
            rows[-1]["gain_by_subband"] = np.sqrt(by_subband.mean((0, 2))).tolist()
        elif stage.name == "stem":
            rows[-1]["gain_by_subband"] = _by_subband(deviations, stimuli, hz, depth)
        progress()
    expected = {}
    if isinstance(adapter, LogMelAdapter) and stage.name != "encoder":
        expected = _expected(adapter, stage, stimuli, rows)
    return _summary(stage, stimuli, rows) | expected


def _apart(deviations: Callable[..., np.ndarray], stimuli: Modulations) -> bool:
    """Whether a modulation of one subband moves the tokens of that subband only: then all can be measured at once."""
    for subband in range(stimuli.subbands):
        moved = deviations(stimuli.hz[-1], [0.0], subband)
        others = np.delete(moved.reshape(stimuli.tokens, stimuli.subbands, -1), subband, axis=1)
        if np.square(others).sum() > SILENT * np.square(moved).sum():
            return False
    return True


def _by_subband(deviations: Callable[..., np.ndarray], stimuli: Modulations, hz: float, depth: float) -> list[float]:
    """The locked gain of a modulation of one subband alone, as all tokens show it, over the width of one."""
    phases, scale = 2 * np.pi * np.arange(SUBBAND_PHASES) / SUBBAND_PHASES, math.sqrt(stimuli.subbands)
    alone = [deviations(hz, phases.tolist(), subband) for subband in range(stimuli.subbands)]
    return [rms(locked(moved, phases, depth)) * scale for moved in alone]


def _summary(stage: Stage, stimuli: Modulations, rows: list[dict[str, Any]]) -> dict[str, Any]:
    hz, energies = stimuli.hz, np.stack([row["fold"] for row in rows])
    energy, error = (np.array([row[name] for row in rows]) for name in ("shift_energy", "shift_error"))
    total, aliased = energies.sum(1), alias(hz, stimuli.token_rate)
    bins = np.round(aliased * stimuli.tokens / stimuli.token_rate).astype(int)
    share = energies / np.where(total > 0, total, 1)[:, None]
    above = hz > stimuli.token_rate / 2
    gain = np.array([row["gain"] for row in rows])
    ratio = lambda part, whole: float(part.sum() / whole.sum()) if whole.sum() > SILENT else None
    return {
        "stage": stage.name,
        "hz": hz.tolist(),
        "alias_hz": aliased.tolist(),
        **{name: [row[name] for row in rows] for name in ("gain", "envelope", "phase_variance")},
        "gain_by_subband": [row["gain_by_subband"] for row in rows] if "gain_by_subband" in rows[0] else None,
        "shift_variance": [float(e / x) if x > SILENT else None for e, x in zip(error, energy, strict=True)],
        "token_hz": (np.arange(energies.shape[1]) * stimuli.token_rate / stimuli.tokens).tolist(),
        "fold": share.tolist(),
        "alias_share": share[np.arange(len(hz)), bins].tolist(),
        "summary": {
            "gain_below": rms(gain[~above]) if (~above).any() else None,
            "gain_above": rms(gain[above]) if above.any() else None,
            "shift_variance_above": ratio(error[above], energy[above]),
            "shift_variance": ratio(error, energy),
            "alias_share_above": ratio(energies[above, bins[above]], total[above]),
        },
    }


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
    phases, shape = (2 * np.pi * np.arange(PHASES) / PHASES).tolist(), (stem.subbands, stem.count)
    inner = slice(stimuli.margin, stimuli.margin + stimuli.tokens)
    pairs = lambda x: np.sqrt(np.square(np.abs(x)).reshape(*shape, 2).sum(-1))
    expected, limits, beta_hz = [], [], []
    for hz in stimuli.hz:
        alpha, beta = (x[:, inner].mean((0, 1)) for x in stem.estimate(stimuli.make(hz, phases)))
        expected.append(pairs(theory.transform(theory.state_taps(stem, alpha, beta), np.array([hz]), rate)[0]))
        limit = theory.long_window(stem, alpha, beta, np.array([hz]), rate)
        limits += [] if limit is None else [limit.reshape(shape)]
        beta_hz.append(beta * rate / (2 * math.pi))
    of_all = lambda per_state: [float(np.sqrt(np.square(x).sum() / (2 * x.size))) for x in per_state]
    middle = stem.subbands // 2
    return {
        "linear": stem.trained != "estimated",
        "theory": of_all(expected),
        "long_window": of_all(limits) if limits else None,
        "states": {
            "subband": middle,
            "beta_hz": torch.stack(beta_hz).mean(0)[middle].tolist(),
            "measured": np.stack([pairs(row["locked_C"]) for row in rows])[:, middle].tolist(),
            "theory": np.stack(expected)[:, middle].tolist(),
        },
    }
