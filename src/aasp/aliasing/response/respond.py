"""One subject's response to pure modulations: for every stage and frequency, measured, and where it can be, expected.

Legend: F subbands, S states, G inner tokens, C channels, n phases, J shifts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from aasp.aliasing.response import measure, theory
from aasp.aliasing.response.stages import Stage
from aasp.aliasing.response.stimuli import BAND, MelModulations, Modulations, Settings, WaveModulations, alias
from aasp.aliasing.subjects import LogMelSubject, Subject
from aasp.errors import AaspError
from aasp.stems.states import States

PHASES, SUBBAND_PHASES = 8, 4
SILENT = 1e-12
"""Mean square of deviations that single precision can't tell from none."""


def modulations(subject: Subject, settings: Settings) -> Modulations:
    """The stimuli that suit a subject.

    Raises:
        AaspError: it gives nothing over time, or sees too much of it at once.
    """
    if not subject.token_rate:
        raise AaspError(f"{subject.name}: gives one vector a clip; a response needs an encoder with vectors over time")
    made = MelModulations if isinstance(subject, LogMelSubject) else WaveModulations
    return made(subject, settings)  # type: ignore[arg-type]


@torch.inference_mode()
def respond(
    subject: Subject, stage: Stage, settings: Settings, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The response of one stage, as JSON values.

    Args:
        subject: who is examined.
        stage: of it.
        settings: how modulations are put in.
        progress: called after each frequency.
    """
    stimuli, depth = modulations(subject, settings), settings.depth
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
        locked, fold = measure.locked(turned, phases, depth), measure.fold(turned)
        rows.append(
            {
                "gain": measure.rms(locked),
                "envelope": measure.envelope(turned, depth),
                "phase_variance": measure.phase_variance(turned, stage.group) if fold.sum() > SILENT else None,
                "fold": fold,
                "shift_error": measure.shift_error(shifted),
                "shift_energy": float(np.square(shifted[0]).mean()),
                "locked_C": np.sqrt(np.square(locked).mean(0)),
            }
        )
        if stage.name == "stem" and apart:
            by_subband = np.square(locked).reshape(len(locked), stimuli.subbands, -1)
            rows[-1]["gain_by_subband"] = np.sqrt(by_subband.mean((0, 2))).tolist()
        elif stage.name == "stem":
            rows[-1]["gain_by_subband"] = _by_subband(stage, stimuli, hz, depth, rest)
        progress()
    return _told(subject, stage, stimuli, rows)


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
        gains.append(measure.rms(measure.locked(deviations, phases, depth)) * math.sqrt(stimuli.subbands))
    return gains


def _told(subject: Subject, stage: Stage, stimuli: Modulations, rows: list[dict[str, Any]]) -> dict[str, Any]:
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
            "gain_below": measure.rms(gain[~above]) if (~above).any() else None,
            "gain_above": measure.rms(gain[above]) if above.any() else None,
            "shift_variance_above": _ratio(error[above], energy[above]),
            "shift_variance": _ratio(error, energy),
            "alias_share_above": _ratio(fold[above, bins[above]], total[above]),
        },
    }
    if isinstance(subject, LogMelSubject) and stage.name != "encoder":
        found |= _expected(subject, stage, stimuli, rows)
    return found


def _ratio(part: np.ndarray, whole: np.ndarray) -> float | None:
    """Of the sums; None where there is nothing."""
    return float(part.sum() / whole.sum()) if whole.sum() > SILENT else None


def _expected(subject: LogMelSubject, stage: Stage, stimuli: Modulations, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The Fourier transform of the taps, in the form of what was measured."""
    rate, stem = subject.frontend.config.frame_rate, subject.stem
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
