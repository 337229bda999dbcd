"""The response on the laboratory's page: which fast rates can be decoded, gain, folding, shifts, states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.colors import LogNorm

from aasp.aliasing import figures
from aasp.aliasing.figures import DASHED, DOTTED, GAIN, MODULATION, Axis, Curve, color, decibels, ends, lines
from aasp.aliasing.text import decimal, percent, plain, with_interval
from aasp.report.rates import BAND
from aasp.report.spectrogram import RATE_COLORS
from aasp.report.style import MUTED
from aasp.report.templates import render

STAGES = {"states": "SBLU states", "stem": "stem", "encoder": "encoder"}
POOLINGS = {"mean": "mean over time", "mean+std": "mean and deviation"}
MANY, APART_DB = 4, 3.0
"""Models that the answer names one by one, and how far apart subbands are when they are shown one by one."""
Json = Mapping[str, Any]


def answer(found: Json) -> str:
    """Which rates can be decoded from the tokens' mean, with 95 % intervals; of many models, the first and the best."""
    decoded = []
    for model in found["models"]:
        rows = [row for row in _rows(model) if row["pooling"] == "mean"]
        if rows:
            row = rows[-1]
            lead = with_interval(row["lead"], percent(0, "+")) if row["lead"] else None
            accuracy = with_interval(row["accuracy"], percent(), " %")
            decoded.append((row["accuracy"]["estimate"], model["name"], STAGES[row["stage"]], accuracy, lead))
    best = max(decoded) if len(decoded) > MANY else None
    return plain("response", found=found, decoded=decoded, best=best, decoding=_decoding(found), percent=percent)


def section(found: Json, folder: Path) -> Markup:
    """The sections of the page.

    Args:
        found: what `response.json` holds.
        folder: where it lies; nothing else is read there.
    """
    errors = [
        max(abs(m - t) for m, t in zip(one["gain"], one["theory"], strict=True)) / max(one["theory"])
        for _, _, one in _stages(found)
        if one.get("linear")
    ]
    panels = {"gain": _gain(found), "folds": _folds(found), "shifts": _shifts(found), "states": _states(found)}
    if _decoding(found):
        panels["decoding"] = [_accuracies(found, pooling) for pooling in POOLINGS]
    summary = [
        [
            Markup('<span style="color: var(--category-{})">●</span> {}').format(number % 9 + 1, model["name"]),
            STAGES[one["stage"]],
            f"{model['nyquist_hz']:.3g}",
            *summary_cells(one["summary"]),
        ]
        for number, model, one in _stages(found)
    ]
    values = {"summary": summary, "decoding": _decoding(found), "error": max(errors, default=None)}
    return Markup(render("aliasing/response.html", figures=panels, **values))


def summary_cells(summary: Json) -> list[str]:
    """Gain above against below in dB, share at the alias in per cent, and shift variance, for a table."""
    above, below = summary["gain_above"], summary["gain_below"]
    gain, variance = 20 * np.log10(above / below) if above and below else None, summary["shift_variance_above"]
    cells = [None if gain is None else decimal(1, "+")(gain), percent()(summary["alias_share_above"])]
    return [*(cell or "–" for cell in cells), "–" if variance is None else decimal(2)(variance)]


def _accuracies(found: Json, pooling: str) -> Markup:
    rows = [(k, model, row) for k, model in enumerate(found["models"]) for row in _rows(model)]
    rows = [(k, model, row) for k, model, row in rows if row["pooling"] == pooling]
    decoding = _decoding(found)
    ceiling = 100 * ends(decoding["rows"][0]["accuracy"])
    names = [f"{model['name']}, {STAGES[row['stage']]}" for _, model, row in rows]
    values = 100 * np.array([ends(row["accuracy"]) for *_, row in rows]).reshape(-1, 3)
    series = [("", [color(k) for k, *_ in rows], values)]
    tinted = (ceiling[0], ceiling[0]) if np.isnan(ceiling).any() else (ceiling[1], ceiling[2])
    title, label = f"From the {POOLINGS[pooling]}", "rates named correctly (%)"
    options: dict[str, Any] = {"marked": 100 * decoding["chance"], "tinted": tinted, "limits": (0, 100)}
    return figures.intervals(names, series, title=title, label=label, inside=True, **options)


def _gain(found: Json) -> list[Markup]:
    panels = []
    for stage in STAGES:
        shown = [(k, model, one) for k, model, one in _stages(found) if one["stage"] == stage]
        curves = [curve for k, _, one in shown for curve in _gains(one, color(k))]
        names = [curve.name for curve in curves]
        keys = [Curve([], [], MUTED, name) for name in ("expected", "endless window") if name in names]
        curves = [Curve([], [], MUTED, "measured", "", dots=True), *keys, *curves]
        nyquists = [model["nyquist_hz"] for _, model, _ in shown]
        title = f"Gain of the {STAGES[stage]}"
        panels += [lines(curves, MODULATION, GAIN, title=title, tinted=nyquists)] if shown else []
    for _, model, one in _stages(found):
        gains = np.array(one["gain_by_subband"] or [[1.0]])
        spread = 20 * np.log10((gains.max(1) / np.maximum(gains.min(1), 1e-9)).max())
        if spread > APART_DB:
            names = ["lowest", *[""] * (gains.shape[1] - 2), "highest"]
            tones = RATE_COLORS(np.linspace(0, 1, gains.shape[1]))
            drawn = zip(gains.T, tones, names, strict=True)
            curves = [Curve(one["hz"], decibels(g, float(gains.max())), tone, name) for g, tone, name in drawn]
            title = f"{model['name']}: one subband at a time"
            panels.append(lines(curves, MODULATION, GAIN, title=title, tinted=[model["nyquist_hz"]]))
    return panels


def _gains(one: Json, tone: str) -> Iterator[Curve]:
    """Dots are measured; lines expected from the taps, dotted between the dots where nothing is expected."""
    peak = max(value for value in one["gain"] if value is not None) or 1.0
    yield Curve(one["hz"], decibels(one["gain"], peak), tone, "measured", "", dots=True)
    if one.get("theory") is None:
        yield Curve(one["hz"], decibels(one["gain"], peak), tone, line=DOTTED)
    else:
        yield Curve(one["hz"], decibels(one["theory"], peak), tone, "expected")
    if one.get("long_window") is not None:
        yield Curve(one["hz"], decibels(one["long_window"], peak), tone, "endless window", DASHED)


def _folds(found: Json) -> list[Markup]:
    shown = [(model, one) for _, model, one in _stages(found) if one["stage"] != "states"]
    title = lambda model, one: f"{model['name']}, {STAGES[one['stage']]}"
    return [
        figures.folds(one["hz"], one["token_hz"], np.array(one["fold"]), title=title(model, one))
        for model, one in shown
    ]


def _shifts(found: Json) -> list[Markup]:
    measures: dict[str, tuple[str, Axis]] = {
        "shift_variance": ("Shift variance", Axis("0: as the sound moves, 2: as another", (-0.1, 2.5), (0, 1, 2))),
        "phase_variance": (
            "Energy against phase",
            Axis("deviation over phases / mean", (-0.03, 0.78), (0, 0.25, 0.5, 0.75)),
        ),
    }
    panels = []
    for stage in ("stem", "encoder"):
        shown = [(k, model, one) for k, model, one in _stages(found) if one["stage"] == stage]
        for name, (title, axis) in measures.items() if shown else ():
            curves = [Curve(one["hz"], one[name], color(k), dots=True) for k, _, one in shown]
            nyquists = [model["nyquist_hz"] for _, model, _ in shown]
            panels.append(lines(curves, MODULATION, axis, title=f"{title}, {STAGES[stage]}", tinted=nyquists))
    return panels


def _states(found: Json) -> list[Markup]:
    panels = []
    for _, model, one in _stages(found):
        if one["stage"] == "states":
            s = one["states"]
            measured, theory = np.array(s["measured"]), np.array(s["theory"])
            curves, peak = [], float(measured.max())
            for dots, line, tone in zip(measured.T, theory.T, RATE_COLORS(LogNorm(*BAND)(s["beta_hz"])), strict=True):
                curves.append(Curve(one["hz"], decibels(line, peak), tone))
                curves.append(Curve(one["hz"], decibels(dots, peak), tone, line="", dots=True))
            title = f"{model['name']}, subband {s['subband'] + 1}"
            panels.append(lines(curves, MODULATION, GAIN, title=title, tinted=[model["nyquist_hz"]]))
    return panels


def _stages(found: Json) -> Iterator[tuple[int, Json, Json]]:
    """(number of the model, model, stage) of every stage."""
    return ((number, model, one) for number, model in enumerate(found["models"]) for one in model["stages"])


def _decoding(found: Json) -> Any:
    """That of the first model that has one."""
    return next((model["decoding"] for model in found["models"] if model["decoding"]), None)


def _rows(model: Json) -> Sequence[Json]:
    return model["decoding"]["rows"] if model["decoding"] else ()
