"""The kernels on the laboratory's page: from `kernels.json` to a sentence and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from aasp.aliasing.figures import DOTTED, Axis, Curve, channel_peaks, intervals, lines, start_against_now
from aasp.aliasing.figures import temporal_kernels as kernels_over_time
from aasp.aliasing.kernels.departure import LEFT, conclusion
from aasp.aliasing.kernels.estimates import number, percent
from aasp.aliasing.text import plain
from aasp.report.learning import curve
from aasp.report.rates import decay_histogram, decay_over_frequency, frequency_histogram, hertz_label
from aasp.report.spectrogram import Spectrogram, patch_rates
from aasp.report.style import CATEGORIES, FIRST, SECOND, THIRD
from aasp.report.templates import render

Json = Mapping[str, Any]
EVOLUTION = {
    "alpha_mean": ("Decay", "mean of α (per frame)"),
    "alpha_spread": ("Decay from patch to patch", "deviation of α (per frame)"),
    "alpha_saturation": ("Decays at a bound", "share of α"),
    "beta_mean": ("Frequency", "mean of β (rad per frame)"),
    "beta_spread": ("Frequency from patch to patch", "deviation of β (rad per frame)"),
    "beta_saturation": ("Frequencies at a bound", "share of β"),
    "sblu_gradient_norm": ("Gradient of the unit", "norm of its gradient"),
}
NAMES = {"alpha": "decay α", "beta": "frequency β"}
WINDOWS = {
    "two-sided": FIRST, "one-sided": SECOND, "gaussian": CATEGORIES[0], "hann": CATEGORIES[4], "rectangular": THIRD,
}  # fmt: skip
PHASES = {"conjugate": FIRST, "even": SECOND}
SHOWN = 4
"""Learned parameters whose elements are drawn one by one: the first, which are those in physical units."""


def answer(found: Json) -> str:
    """What came out, in a sentence of plain text."""
    return plain("kernels", **_values(found))


def section(found: Json, folder: Path) -> Markup:
    """The sections of the page.

    Args:
        found: what `kernels.json` holds.
        folder: where it lies; nothing else is read there.
    """
    evolution = [
        curve(*np.array(found["evolution"][name], float).T, title=title, label=label)
        for name, (title, label) in EVOLUTION.items()
        if name in found["evolution"]
    ]
    panels = {"evolution": evolution, "linear": _linear(found), "gradient": _gradients(found)}
    values: dict[str, Any] = {}
    learned = list(found.get("departure", ()))
    if "parameters" in found:
        panels |= {"where": _where(found), "overlays": _overlays(found)}
        values["learned"] = _departure_rows([row for row in learned if _of_stem(row)])
        learned = [row for row in learned if not _of_stem(row)]
    if learned:
        units = [row for row in learned if "weight" not in row["name"]][:SHOWN]
        panels["departure"] = [_departures(learned), *(start_against_now(row, title=row["part"]) for row in units)]
        values |= {"departure": _departure_rows(learned), "left": LEFT, "conclusion": conclusion(learned)}
    lengths = sorted({row["taps"] for row in found["pull"]["rows"]})
    return Markup(render("aliasing/kernels.html", figures=panels, lengths=lengths, **values, **_values(found)))


def _values(found: Json) -> dict[str, Any]:
    """What the sentence and the sections both name."""
    moved = {}
    if "parameters" in found:
        moved = {name: (found["parameters"][key]["moved"]["low"] or 0) > 0 for key, name in NAMES.items()}
    return {
        "found": found,
        "percent": percent,
        "number": number,
        "moved": [name for name, clear in moved.items() if clear],
        "low": hertz_label(found["band_hz"][0]),
        "high": hertz_label(found["band_hz"][1]),
    }


def _of_stem(row: Json) -> bool:
    """Whether a row of `departure` is of a stem; where its states are estimated it stands with these."""
    return str(row["part"]).startswith("stem ")


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
    linear, low, half = found["linear"], found["band_hz"][0], found["frame_rate"] / 2
    lowest, middle, highest = 100 * np.array(linear["power"])
    of = "What channels follow" if linear["heard"] else "What channels pass"
    most = "What they follow most" if linear["heard"] else "Where they respond most"
    power = Curve(linear["hertz"], middle, FIRST, low=lowest, high=highest)
    rates, share = (
        Axis("modulation rate (Hz)", (0, linear["hertz"][-1])),
        Axis("power (%, of a channel's whole)", (0, None)),
    )
    panels = [
        lines([power], rates, share, title=of, tinted=[low]),
        channel_peaks(np.array(linear["peaks"]), half, low, title=most),
    ]
    if not linear["heard"]:
        panels.append(kernels_over_time(linear["examples"], found["frame_rate"], title="Three of them over time"))
    return panels


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
    values = np.maximum([[row["distance"][key] for key in ("estimate", "low", "high")] for row in rows], 5e-5)
    names = [row["name"].split(" (")[0] for row in rows]
    label = "in spreads of the starts; mean, and where four fifths lie"
    limits = (5e-5, max(10.0, 2 * float(values[:, 0].max())))
    series = [("", [FIRST] * len(rows), values)]
    title = "Distance from the start"
    return intervals(names, series, title=title, label=label, tinted=(5e-5, LEFT), log=10, limits=limits)


def _departure_rows(rows: Sequence[Json]) -> list[list[Markup | str]]:
    """How far each parameter is from its start, for a table."""
    form = lambda far: "0" if far == 0 else f"{far:.2g}" if far >= 1e-4 else "<0.0001"
    small = Markup("{}<small>{}</small>")
    cells = []
    for row in rows:
        low, high = row["distance"]["low"], row["distance"]["high"]
        between = "" if low == high else f"{form(low)}–{form(high)}"
        start = small.format(f"{row['start']:.3g}", f"spread {row['spread']:.2g}")
        distance = small.format(form(row["distance"]["estimate"]), between)
        name, count = f"{row['name']}, {row['part']}", f"{row['count']:,}"
        cells.append([name, count, start, f"{row['now']:.3g}", distance, form(row["farthest"])])
    return cells
