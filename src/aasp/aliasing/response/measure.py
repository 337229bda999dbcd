"""Measures of the tokens' response to a modulation, from their deviations: tokens minus their values at rest.

Over the phases φ of the modulation a deviation has harmonics, Y_m = mean over φ of d(φ) exp(-i m φ). Y_1 is locked to
the modulation: a linear stem has no other, and it can alias. Y_0 indicates the presence of a modulation for any phase,
like an envelope: it is 0 in a linear stem, and can't alias.

Legend: B clips, T frames, M mel bins, S samples, n phases, G tokens over time on which a modulation is periodic, F
subbands, C channels of all tokens of a time patch, J shifts. Source: ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aasp.aliasing.response import theory
from aasp.aliasing.response.stimuli import BAND, PHASES, Settings, alias, modulations
from aasp.encoders import EncoderAdapter, LogMelAdapter, StemAdapter
from aasp.errors import AaspError
from aasp.model.pooling import over_frequency

SILENT = 1e-12
"""Mean square of deviations that single precision can't distinguish from zero."""


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
    """Deviation over evenly spaced phases of a token's energy, over its mean; a token is `group` neighbouring channels.

    0 for an envelope, 1/√2 for a single linear channel; in a linear stem |Σ H²| / (√2 Σ |H|²) over a token's channels.
    Tokens are weighted by their mean energy.
    """
    energy = np.square(deviations_nGC).reshape(*deviations_nGC.shape[:2], -1, group).sum(-1)
    return float(energy.std(0).sum() / energy.mean(0).sum())


def fold(deviations_nGC: np.ndarray) -> np.ndarray:
    """Energy at each frequency of the tokens, 0 to half their rate, (G // 2 + 1,); the sum is their mean square."""
    tokens = deviations_nGC.shape[1]
    energy = np.square(np.abs(np.fft.rfft(deviations_nGC, axis=1))).mean((0, 2)) / tokens**2
    energy[1 : (tokens + 1) // 2] *= 2  # a real signal has these on both sides
    return energy


def shift_error(shifted_JGC: np.ndarray) -> float:
    """Mean over J shifts, by j / J of a token, of |T(shift x) - shift T(x)|²; row j is for a sound delayed by j / J.

    Divided by the energy of T(x) it is the shift-variance index: 0 if tokens shift with the sound, 2 if they change as
    for an unrelated sound. A linear stem has 2 (1 - mean over j of cos(2π k j / J)) for modulations that fold k times:
    0 below the post-patch Nyquist, 2 above.
    """
    count, tokens, _ = shifted_JGC.shape
    delay = np.arange(count)[:, None] / count * np.fft.rfftfreq(tokens)
    moved = np.fft.rfft(shifted_JGC[0], axis=0) * np.exp(-2j * np.pi * delay)[..., None]
    return float(np.square(shifted_JGC - np.fft.irfft(moved, n=tokens, axis=1)).mean())


class Stage(NamedTuple):
    """A place in a model."""

    name: str  # "states", "stem" or "encoder"
    read: Callable[[Tensor], Tensor]  # stimuli (log-mels (B, T, M), or waveforms (B, S)) to tokens (B, G, C)
    group: int  # number of neighbouring channels of C that form one token (or one state's two parts)


def stages(adapter: EncoderAdapter, wanted: tuple[str, ...]) -> list[Stage]:
    """The stages "stem" (with the states before it, if there are any) and "encoder", if wanted and available.

    Raises:
        AaspError: there are none: an encoder of waveforms has no stem, or a stem no encoder.
    """
    found = []
    if isinstance(adapter, LogMelAdapter):
        stem = adapter.stem
        if "stem" in wanted:
            if (inner := stem.states) is not None:  # real and imaginary part of every state, before fusion
                states = lambda mel_BTM: torch.stack(inner.responses(mel_BTM), dim=-1).flatten(2)
                found.append(Stage("states", states, 2))
            found.append(Stage("stem", lambda mel: over_frequency(stem(mel), stem.subbands, flat=True), stem.width))
        if "encoder" in wanted and not isinstance(adapter, StemAdapter):
            found.append(Stage("encoder", lambda mel_BTM: adapter.embed_logmel(mel_BTM).timestamps, stem.width))
    elif "encoder" in wanted:
        read = lambda wave_BS: adapter.embed_waveform(wave_BS).timestamps
        found.append(Stage("encoder", read, read(0.1 * torch.randn(1, adapter.rate)).shape[-1]))
    if not found:
        raise AaspError(f"{adapter.name}: has no {' or '.join(wanted)} to look at; leave out --stage {wanted[0]}")
    return found


@torch.inference_mode()
def respond(
    adapter: EncoderAdapter, stage: Stage, settings: Settings, progress: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """The response of one stage of an adapter, as JSON values; `progress` is called after each frequency."""
    stimuli, depth = modulations(adapter, settings), settings.depth
    hz, rate = stimuli.hz, stimuli.token_rate
    shifts = max(8, round(BAND[1] / rate) + 1)  # more than a modulation can fold
    delays = np.arange(1, shifts) / shifts / rate
    read = lambda stimulus: stimuli.inner(stage.read(stimulus))
    rest = read(stimuli.rest())
    rows = []
    for f in hz:
        deviations = read(stimuli.make(f, np.concatenate([PHASES, -2 * np.pi * f * delays]))) - rest
        turned = deviations[: len(PHASES)]
        shifted = np.concatenate([deviations[:1], deviations[len(PHASES) :]])
        gain_GC, energy = locked(turned, PHASES, depth), fold(turned)
        rows.append(
            {
                "gain": rms(gain_GC),
                "envelope": envelope(turned, depth),
                "phase_variance": phase_variance(turned, stage.group) if energy.sum() > SILENT else None,
                "fold": energy,
                "shift_error": shift_error(shifted),
                "shift_energy": float(np.square(shifted[0]).mean()),
                "gain_C": np.sqrt(np.square(gain_GC).mean(0)),
            }
        )
        progress()
    column = {name: [row[name] for row in rows] for name in rows[0]}
    gain, error, energy = (np.array(column[name]) for name in ("gain", "shift_error", "shift_energy"))
    folded = np.stack(column["fold"])
    total = folded.sum(1)
    share = folded / np.where(total > 0, total, 1)[:, None]
    at_alias = np.arange(len(hz)), np.round(alias(hz, rate) * stimuli.tokens / rate).astype(int)
    above = hz > rate / 2
    ratio = lambda part, whole: float(part.sum() / whole.sum()) if whole.sum() > SILENT else None
    found = {
        "stage": stage.name,
        "hz": hz.tolist(),
        "alias_hz": alias(hz, rate).tolist(),
        **{name: column[name] for name in ("gain", "envelope", "phase_variance")},
        "shift_variance": [ratio(*pair) for pair in zip(error, energy, strict=True)],
        "token_hz": (np.arange(folded.shape[1]) * rate / stimuli.tokens).tolist(),
        "fold": share.tolist(),
        "alias_share": share[at_alias].tolist(),
        "summary": {
            "gain_below": rms(gain[~above]) if (~above).any() else None,
            "gain_above": rms(gain[above]) if above.any() else None,
            "shift_variance_above": ratio(error[above], energy[above]),
            "shift_variance": ratio(error, energy),
            "alias_share_above": ratio(folded[at_alias][above], total[above]),
        },
    }
    if isinstance(adapter, LogMelAdapter) and stage.name != "encoder":
        found |= theory.expected(adapter, stage.name, stimuli, np.stack(column["gain_C"]))
    return found
