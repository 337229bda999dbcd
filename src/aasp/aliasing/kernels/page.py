"""The kernels section of the laboratory's page: from `kernels.json` to a sentence and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from aasp.aliasing.figures import DOTTED, Axis, Curve, ends, intervals, lines
from aasp.aliasing.kernels.departure import LEFT, conclusion
from aasp.aliasing.kernels.estimates import number, percent
from aasp.aliasing.text import plain
from aasp.report.rates import decay_histogram, decay_over_frequency, frequency_histogram, hertz_label
from aasp.report.spectrogram import Spectrogram, patch_rates
from aasp.report.style import CATEGORIES, FIRST, SECOND, THIRD
from aasp.report.templates import render

Json = Mapping[str, Any]
NAMES = {"alpha": "decay α", "beta": "frequency β"}
WINDOWS = {
    "two-sided": FIRST, "one-sided": SECOND, "gaussian": CATEGORIES[0], "hann": CATEGORIES[4], "rectangular": THIRD,
}  # fmt: skip
PHASES = {"conjugate": FIRST, "even": SECOND}


def answer(found: Json) -> str:
    """The result, in a sentence of plain text."""
    return plain("kernels", **_values(found))


def section(found: Json, folder: Path) -> Markup:
    """The sections of the page.

    Args:
        found: the content of `kernels.json`.
        folder: its folder; nothing else is read from it.
    """
    values, panels = _values(found), {"linear": _linear(found), "gradient": _gradients(found)}
    if "parameters" in found:
        panels |= {"where": _where(found), "overlays": _overlays(found)}
    if learned := found.get("departure"):
        panels["departure"] = [_departures(learned)]
        values |= {"departure": learned, "left": LEFT, "conclusion": conclusion(learned)}
    lengths = sorted({row["taps"] for row in found["pull"]["rows"]})
    return Markup(render("aliasing/kernels.html", figures=panels, lengths=lengths, **values))


def _values(found: Json) -> dict[str, Any]:
    """Values for both the sentence and the sections."""
    parameters = found.get("parameters")
    moved = [NAMES[key] for key in NAMES if parameters and (parameters[key]["moved"]["low"] or 0) > 0]
    low, high = map(hertz_label, found["band_hz"])
    return {"found": found, "percent": percent, "number": number, "moved": moved, "low": low, "high": high}


def _where(found: Json) -> list[Markup]:
    p, band, bounds = found["parameters"], tuple(found["band_hz"]), tuple(found["parameters"]["alpha"]["bounds"])
    shares = lambda name: [np.array(p[name]["shares"][when]) for when in ("start", "now")]
    starts = np.array(p["starts"]["alpha"]), np.array(p["starts"]["beta_hz"])
    return [
        frequency_histogram(*shares("beta"), title="Frequencies", band=band),
        decay_histogram(*shares("alpha"), title="Decays", bounds=bounds),
        decay_over_frequency(
            np.array(p["density"]), start=starts, bounds=bounds, title="Decay and frequency", band=band
        ),
    ]


def _overlays(found: Json) -> list[Markup]:
    patch = tuple(found["patch"])
    return [
        patch_rates(
            Spectrogram(np.array(one["mel"], float), np.array(one["mel_hz"]), found["frame_rate"], patch),
            np.array(one["rate_hz"]),
            np.array(one["strength"]),
            title=f"{Path(one['name']).name}" + (f", from {one['begins']:.1f} s" if one["begins"] else ""),
            band=tuple(found["band_hz"]),
        )
        for one in found["overlays"]
    ]


def _linear(found: Json) -> list[Markup]:
    linear, low = found["linear"], found["band_hz"][0]
    hertz, (lowest, middle, highest) = linear["hertz"], 100 * np.array(linear["power"])
    peaks, edges = 100 * np.array(linear["peaks"]), np.linspace(0, hertz[-1], len(linear["peaks"]) + 1)
    stairs = np.repeat(edges, 2)[1:-1], np.repeat(peaks, 2)
    power = Curve(hertz, middle, FIRST, low=lowest, high=highest)
    channels = Curve(*stairs, FIRST, low=0 * stairs[1], high=stairs[1])
    draw = lambda curve, label, title: lines(
        [curve], Axis("modulation rate (Hz)", (0, hertz[-1])), Axis(label, (0, None)), title=title, tinted=[low]
    )
    return [
        draw(power, "power (%, of a channel's whole)", "What channels pass"),
        draw(channels, "share of channels (%)", "Where they respond most"),
    ]


def _gradients(found: Json) -> list[Markup]:
    rows, rate = found["pull"]["rows"], found["frame_rate"]
    hertz = np.array(found["pull"]["distances"]) * rate / (2 * np.pi)
    ticks = [t * rate / 100 for t in (0.5, 1, 2, 5, 10, 20)]
    x = Axis("distance of the tone (Hz)", (0.003 * rate, 0.24 * rate), ticks, log=True)
    y = Axis("gradient of the power", (1e-4, 60), (1e-4, 1e-3, 1e-2, 0.1, 1, 10), log=True)

    def panel(some: Sequence[Json], by: str, tones: Mapping[str, str], title: str) -> Markup:
        curves = []
        for row in some:
            towards = np.where(np.array(row["towards"]) > 0, row["size"], np.nan)
            curves.append(Curve(hertz, row["size"], tones[row[by]], line=DOTTED))
            curves.append(Curve(hertz, towards, tones[row[by]], row[by]))
        return lines(curves, x, y, title=title, height=250)

    lengths = sorted({row["taps"] for row in rows})
    conjugate = lambda taps: [row for row in rows if row["taps"] == taps and row["phase"] == "conjugate"]
    both = [row for row in rows if row["taps"] == lengths[-1] and row["window"] == "two-sided"]
    windows = [panel(conjugate(taps), "window", WINDOWS, f"Windows of {taps} frames") for taps in lengths]
    return [*windows, panel(both, "phase", PHASES, f"Even against conjugate, {lengths[-1]} frames")]


def _departures(rows: Sequence[Json]) -> Markup:
    values = np.maximum([ends(row["distance"]) for row in rows], 5e-5)
    names = [row["name"].split(" (")[0] for row in rows]
    label = "in spreads of the starts; mean, and where four fifths lie"
    limits = (5e-5, max(10.0, 2 * float(values[:, 0].max())))
    series = [("", [FIRST] * len(rows), values)]
    title = "Distance from the start"
    return intervals(names, series, title=title, label=label, tinted=(5e-5, LEFT), log=10, limits=limits)
