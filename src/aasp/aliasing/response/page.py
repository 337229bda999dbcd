"""The response section of the laboratory's page: decoded rates, gain, folding, shifts, states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.colors import LogNorm

from aasp.aliasing import figures
from aasp.aliasing.figures import DOTTED, GAIN, MODULATION, Axis, Curve, color, decibels, ends, lines
from aasp.aliasing.text import decimal, percent, plain, with_interval
from aasp.report.rates import BAND
from aasp.report.spectrogram import RATE_COLORS
from aasp.report.style import MUTED
from aasp.report.templates import render

Json = Mapping[str, Any]
STAGES = {"states": "SBLU states", "stem": "stem", "encoder": "encoder"}
POOLINGS = {"mean": "mean over time", "mean+std": "mean and deviation"}
MANY = 4
"""Maximum number of models that the answer names individually."""
SHIFTS = {
    "shift_variance": ("Shift variance", Axis("0: as the sound moves, 2: as another", (-0.1, 2.5), (0, 1, 2))),
    "phase_variance": (
        "Energy against phase",
        Axis("deviation over phases / mean", (-0.03, 0.78), (0, 0.25, 0.5, 0.75)),
    ),
}


def answer(found: Json) -> str:
    """Rates decoded from the tokens' mean, with 95 % intervals; with many models, the first and the best."""
    decoded = list({number: (model, row) for number, model, row in _rows(found, "mean")}.values())  # the last stage's
    best = max(decoded, key=lambda one: one[1]["accuracy"]["estimate"]) if len(decoded) > MANY else None
    forms = {"stages": STAGES, "percent": percent, "with_interval": with_interval}
    return plain("response", found=found, decoded=decoded, best=best, decoding=_decoding(found), **forms)


def section(found: Json, folder: Path) -> Markup:
    """The sections of the page.

    Args:
        found: the content of `response.json`.
        folder: its folder; nothing else is read from it.
    """
    stages, decoding = list(_stages(found)), _decoding(found)
    panels = {
        "decoding": [_accuracies(found, pooling) for pooling in POOLINGS] if decoding else [],
        "gain": [panel for stage in STAGES for panel in _over_modulations(found, stage, "Gain of the {}", GAIN, _gain)],
        "folds": [_folds(model, one) for _, model, one in stages if one["stage"] != "states"],
        "shifts": _shifts(found),
        "states": [_states(model, one) for _, model, one in stages if one["stage"] == "states"],
    }
    linear = [(np.array(one["gain"]), np.array(one["theory"])) for *_, one in stages if one.get("linear")]
    error = max((np.abs(gain - theory).max() / theory.max() for gain, theory in linear), default=None)
    values = {"stages": stages, "names": STAGES, "cells": summary_cells, "decoding": decoding, "error": error}
    return Markup(render("aliasing/response.html", figures=panels, **values))


def summary_cells(summary: Json) -> list[str]:
    """Gain above relative to below in dB, share at the alias in per cent, and shift variance, for a table."""
    above, below, variance = (summary[name] for name in ("gain_above", "gain_below", "shift_variance_above"))
    gain = decimal(1, "+")(20 * np.log10(above / below)) if above and below else "–"
    return [gain, percent()(summary["alias_share_above"]), "–" if variance is None else decimal(2)(variance)]


def _accuracies(found: Json, pooling: str) -> Markup:
    """Accuracy of decoded rates for each model's stages, with chance dashed and the frames' ceiling tinted."""
    rows, decoding = list(_rows(found, pooling)), _decoding(found)
    names = [f"{model['name']}, {STAGES[row['stage']]}" for _, model, row in rows]
    values = 100 * np.array([ends(row["accuracy"]) for *_, row in rows]).reshape(-1, 3)
    ceiling, low, high = 100 * ends(decoding["rows"][0]["accuracy"])
    return figures.intervals(
        names,
        [("", [color(number) for number, *_ in rows], values)],
        title=f"From the {POOLINGS[pooling]}",
        label="rates named correctly (%)",
        inside=True,
        marked=100 * decoding["chance"],
        tinted=(ceiling, ceiling) if np.isnan(low + high) else (low, high),
        limits=(0, 100),
    )


def _over_modulations(
    found: Json, stage: str, title: str, axis: Axis, draw: Callable[[Json, str], Sequence[Curve]]
) -> list[Markup]:
    """A panel of the response to modulations for all models with a stage; none if no model has it."""
    shown = [(number, model, one) for number, model, one in _stages(found) if one["stage"] == stage]
    curves = [curve for number, _, one in shown for curve in draw(one, color(number))]
    keys = [curve._replace(x=[], y=[], color=MUTED) for curve in curves if curve.name]
    nyquists = [model["nyquist_hz"] for _, model, _ in shown]
    title = title.format(STAGES[stage])
    return [lines([*keys, *curves], MODULATION, axis, title=title, tinted=nyquists)] if shown else []


def _gain(one: Json, tone: str) -> list[Curve]:
    """Dots are measured; lines are expected from the taps, dotted between the dots if there is no expectation."""
    hz, theory, peak = one["hz"], one.get("theory"), max(filter(None, one["gain"]), default=1.0)
    measured = Curve(hz, decibels(one["gain"], peak), tone, "measured", "", dots=True)
    if theory is None:
        return [measured, Curve(hz, decibels(one["gain"], peak), tone, line=DOTTED)]
    return [measured, Curve(hz, decibels(theory, peak), tone, "expected")]


def _folds(model: Json, one: Json) -> Markup:
    title = f"{model['name']}, {STAGES[one['stage']]}"
    return figures.folds(one["hz"], one["token_hz"], np.array(one["fold"]), title=title)


def _shifts(found: Json) -> list[Markup]:
    panels = []
    for stage in ("stem", "encoder"):
        for name, (title, axis) in SHIFTS.items():
            draw = lambda one, tone, name=name: [Curve(one["hz"], one[name], tone, dots=True)]
            panels += _over_modulations(found, stage, f"{title}, {{}}", axis, draw)
    return panels


def _states(model: Json, one: Json) -> Markup:
    states, curves = one["states"], []
    measured, theory = np.array(states["measured"]).T, np.array(states["theory"]).T
    for dots, line, tone in zip(measured, theory, RATE_COLORS(LogNorm(*BAND)(states["beta_hz"])), strict=True):
        curves.append(Curve(one["hz"], decibels(line, measured.max()), tone))
        curves.append(Curve(one["hz"], decibels(dots, measured.max()), tone, line="", dots=True))
    title = f"{model['name']}, subband {states['subband'] + 1}"
    return lines(curves, MODULATION, GAIN, title=title, tinted=[model["nyquist_hz"]])


def _stages(found: Json) -> Iterator[tuple[int, Json, Json]]:
    """(number of the model, model, stage) of every stage."""
    return ((number, model, one) for number, model in enumerate(found["models"]) for one in model["stages"])


def _decoding(found: Json) -> Any:
    """The decoding of the first model that has one."""
    return next((model["decoding"] for model in found["models"] if model["decoding"]), None)


def _rows(found: Json, pooling: str) -> Iterator[tuple[int, Json, Json]]:
    """(number of the model, model, row) of the rates decoded from every stage's tokens with a pooling."""
    for number, model in enumerate(found["models"]):
        for row in model["decoding"]["rows"] if model["decoding"] else ():
            if row["pooling"] == pooling:
                yield number, model, row
