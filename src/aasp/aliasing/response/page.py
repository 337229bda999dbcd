"""The response's part of the laboratory's page: what can be read of fast modulations, gain, folding, shifts, states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from aasp.aliasing.response import figures
from aasp.aliasing.response.figures import Bar, Curve, color
from aasp.evaluate.intervals import span
from aasp.report.page import Section

STAGES = {"states": "SBLU states", "stem": "stem", "encoder": "encoder"}
POOLINGS = {"mean": "mean over time", "mean+std": "mean and deviation"}
MANY, APART_DB = 4, 3.0
"""Models that the answer names one by one, and how far apart subbands are when they are shown one by one."""
Json = Mapping[str, Any]


def section(found: Json, folder: Path) -> list[Section]:
    """The sections of a page.

    Args:
        found: what `examine` returned, read from `response.json`.
        folder: where it lies.
    """
    made = [_summary(found)]
    made += [_decoding(found)] if any(model["decoding"] for model in found["models"]) else []
    made += [_gain(found), _folds(found), _shifts(found)]
    made += [_states(found)] if any(one["stage"] == "states" for _, _, one in _stages(found)) else []
    return made


def answer(found: Json) -> str:
    """Which rates can be read from the tokens' mean, with 95 % intervals; of many models, for the first and best."""
    told: list[tuple[float, str]] = []
    for model in found["models"]:
        rows = {row["stage"]: row for row in (model["decoding"] or {"rows": []})["rows"] if row["pooling"] == "mean"}
        if rows:
            stage, row = list(rows.items())[-1]
            lead = f", {_points(row['lead'])} points against {found['models'][0]['name']}" if row["lead"] else ""
            text = f"{model['name']} ({STAGES[stage]}) in {_percent(row['accuracy'])} of clips{lead}"
            told.append((row["accuracy"]["estimate"], text))
    if not told:
        fast = ", ".join(f"{model['name']} {model['nyquist_hz']:.3g} Hz" for model in found["models"])
        return f"Tokens are fast enough for nearly every modulation that frames of 10 ms hold: up to {fast}."
    words = [text for _, text in told]
    if len(told) > MANY:
        words = [words[0], f"best of {len(told)} models, for {max(told)[1]}"]
    decoding = next(model["decoding"] for model in found["models"] if model["decoding"])
    frames = decoding["rows"][0]["accuracy"]["estimate"]
    return (
        "Which of eight rates a modulation above the post-patch Nyquist frequency has, a linear probe reads from the "
        f"tokens' mean over time for {'; '.join(words)}. Chance is {100 * decoding['chance']:.1f} %; the frames "
        f"themselves tell {100 * frames:.0f} %."
    )


def _summary(found: Json) -> Section:
    return Section(
        "What the patches leave of modulations",
        "Half the token rate, the post-patch Nyquist frequency, is the fastest modulation that tokens can follow. What "
        "is faster they either lose, or show as something slower, or tell of without following it.",
        [_table(found)],
        "All of modulations above the post-patch Nyquist frequency. <b>Gain</b>: what comes through "
        "and follows the modulation, against what does below that frequency. <b>At the alias</b>: share of the energy "
        "that tokens show at a slow rate, which the sound does not have. <b>Shift variance</b>: 0, tokens move as the "
        "sound does; 2, as if it were another. Colours are those of all panels.",
    )


def _table(found: Json) -> str:
    rows = []
    for number, model, one in _stages(found):
        told = [f'<span style="color: var(--category-{number % 9 + 1})">●</span> {escape(model["name"])}']
        told += [STAGES[one["stage"]], f"{model['nyquist_hz']:.3g}"]
        cells = [f"<td>{told[0]}</td><td>{told[1]}</td>"]
        cells += [f'<td class="figure">{cell}</td>' for cell in (told[2], *summary_cells(one["summary"]))]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "<th>model</th><th>tokens of</th>" + "".join(
        f'<th class="figure">{name}</th>'
        for name in ("Nyquist (Hz)", "gain above / below (dB)", "at the alias (%)", "shift variance")
    )
    return f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def summary_cells(summary: Json) -> list[str]:
    """Gain above against below in dB, share at the alias in per cent, and shift variance, for a table."""
    above, below, share = summary["gain_above"], summary["gain_below"], summary["alias_share_above"]
    decibel = 20 * np.log10(above / below) if above and below else None
    percent = None if share is None else 100 * share
    values = [(decibel, "+.1f"), (percent, ".0f"), (summary["shift_variance_above"], ".2f")]
    return ["–" if value is None else format(value, form).replace("-", "−") for value, form in values]


def _decoding(found: Json) -> Section:
    decoding = next(model["decoding"] for model in found["models"] if model["decoding"])
    frames = decoding["rows"][0]["accuracy"]
    ceiling = Bar("frames", "", *_ends(frames))
    low, high = (f"{hz:.3g}" for hz in (decoding["classes_hz"][0], decoding["classes_hz"][-1]))
    return Section(
        "Whether fast rates can still be read",
        f"Clips whose modulation has one of eight rates between {low} and {high} Hz, and phase, depth, level, pattern "
        "and noise of its own. A logistic regression is to name the rate.",
        [
            figures.accuracies(list(_bars(found, pooling)), decoding["chance"], ceiling, title=f"From the {words}")
            for pooling, words in POOLINGS.items()
        ],
        "Dots are accuracies on clips not trained on, with 95 % intervals over clips. Dashed is chance; the solid line "
        "is what the same probe reads from the spectrum of the frames before any patch. A linear stem's tokens swing "
        "about the same mean at every rate, so nothing is to be read from it; how far each channel swings does tell.",
    )


def _bars(found: Json, pooling: str) -> Iterator[Bar]:
    for number, model in enumerate(found["models"]):
        for row in (model["decoding"] or {"rows": []})["rows"]:
            if row["pooling"] == pooling:
                yield Bar(f"{model['name']}, {STAGES[row['stage']]}", color(number), *_ends(row["accuracy"]))


def _gain(found: Json) -> Section:
    panels = []
    for stage in STAGES:
        curves = [
            Curve(color(number), model["nyquist_hz"], one["hz"], one["gain"], one.get("theory"), one.get("long_window"))
            for number, model, one in _stages(found)
            if one["stage"] == stage
        ]
        panels += [figures.gain(curves, title=f"Gain of the {STAGES[stage]}")] if curves else []
    text = (
        "A pure modulation is put in at every phase, and what follows it in the tokens is measured. Where a stage is "
        "linear, the Fourier transform of its taps says beforehand what must come out."
    )
    errors = [
        max(abs(m - t) for m, t in zip(one["gain"], one["theory"], strict=True)) / max(one["theory"])
        for _, _, one in _stages(found)
        if one.get("linear")
    ]
    if errors:
        text += f" Where one is, measured and expected differ by {max(errors):.0e} of the peak at most."
    for _, model, one in _stages(found):
        gains = np.array(one["gain_by_subband"] or [[1.0]])
        spread = 20 * np.log10((gains.max(1) / np.maximum(gains.min(1), 1e-9)).max())
        if spread > APART_DB:
            title = f"{model['name']}: one subband at a time"
            panels.append(figures.gain_by_subband(one["hz"], gains, model["nyquist_hz"], title=title))
    return Section(
        "How much comes through",
        text,
        panels,
        "Dots are measured, lines expected from the taps alone; dotted where the stage is not linear and nothing is "
        "expected. The shaded band is what the tokens are too slow for: what comes through there, aliases. States of "
        "estimated decay and frequency should respond as taps made of the mean estimate for this very modulation. "
        "Dashed is the limit of an endless window in even phase, which knows neither the last tap nor of the patch's "
        "mean, which is taken out. Subbands are shown one by one where they differ by more than 3 dB.",
    )


def _folds(found: Json) -> Section:
    panels = []
    for _, model, one in _stages(found):
        if one["stage"] != "states":
            title = f"{model['name']}, {STAGES[one['stage']]}"
            panels.append(figures.folds(one["hz"], one["token_hz"], np.array(one["fold"]), title=title))
    return Section(
        "Where it goes",
        "Each column is one modulation, and the rates at which the tokens change for it.",
        panels,
        "Up to the dashed line the tokens change at the rate of the sound. Beyond it they can't: the thin line, where "
        "folding puts it, is reflected at the top and at 0, and one rate in the tokens stands for many in the sound. "
        "Ink at 0 Hz is a change that stays, as an envelope makes it: it tells of the modulation and does not alias. "
        "Ink elsewhere is harmonics of what is not linear. Ink is as dense as the root of the share of energy.",
    )


def _shifts(found: Json) -> Section:
    panels = []
    for stage in ("stem", "encoder"):
        which = [(color(k), model["nyquist_hz"], one) for k, model, one in _stages(found) if one["stage"] == stage]
        if which:
            curves = [Curve(tone, nyquist, one["hz"], one["shift_variance"]) for tone, nyquist, one in which]
            what = "0: as the sound moves, 2: as another"
            title = f"Shift variance, {STAGES[stage]}"
            panels.append(figures.over_frequency(curves, title=title, what=what, top=2.4, ticks=[0, 1, 2]))
            curves = [Curve(tone, nyquist, one["hz"], one["phase_variance"]) for tone, nyquist, one in which]
            what, ticks = "deviation over phases / mean", [0, 0.25, 0.5, 0.75]
            title = f"Energy against phase, {STAGES[stage]}"
            panels.append(figures.over_frequency(curves, title=title, what=what, top=0.75, ticks=ticks))
    return Section(
        "Whether tokens move with the sound",
        "If a modulation comes later by a fraction of a patch, tokens should come later by as much, as any signal does "
        "that is sampled fast enough.",
        panels,
        "Shift variance is 0 below the post-patch Nyquist frequency and 2 above it in every linear stem, whatever its "
        "weights: nothing linear can move with what it aliases. Only what is not linear comes to lie between; a change "
        "that stays, as an envelope makes it, counts as moving rightly. <b>Energy against phase</b>: how much a "
        "token's energy depends on where in its cycle a modulation stands; 0 for an envelope, 0.71 for a single linear "
        "channel.",
    )


def _states(found: Json) -> Section:
    panels = []
    for _, model, one in _stages(found):
        if one["stage"] == "states":
            s, title = one["states"], f"{model['name']}, subband {one['states']['subband'] + 1}"
            values = np.array(s["measured"]), np.array(s["theory"]), s["beta_hz"]
            panels.append(figures.states(one["hz"], *values, nyquist=model["nyquist_hz"], title=title))
    return Section(
        "What each state of the SBLU lets through",
        "A state is a short complex sinusoid under a window, and lets modulations near its own frequency through.",
        panels,
        "Colours run from slow (blue) to fast (red) states. Dots are measured, lines are the Fourier transform of the "
        "taps, with the mean over the patch taken out.",
    )


def _stages(found: Json) -> Iterator[tuple[int, Json, Json]]:
    """(number of the model, model, stage) of every stage."""
    for number, model in enumerate(found["models"]):
        for one in model["stages"]:
            yield number, model, one


def _ends(interval: Json) -> np.ndarray:
    """Estimate, low and high, NaN where there are no ends."""
    return np.array([interval[name] for name in ("estimate", "low", "high")], dtype=float)


def _percent(interval: Json) -> str:
    tell = lambda value: f"{100 * value:.0f}"
    return f"{tell(interval['estimate'])} % [{span(interval['low'], interval['high'], tell)}]"


def _points(lead: Json) -> str:
    tell = lambda value: f"{100 * value:+.0f}".replace("-", "−")
    return f"{tell(lead['estimate'])} [{span(lead['low'], lead['high'], tell)}]"
