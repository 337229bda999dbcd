"""The stability section of the laboratory's page: from `stability.json` to a sentence and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from aasp.aliasing.figures import DASHED, RATE, SHIFT, Axis, Curve, color, ends, intervals, lines
from aasp.aliasing.text import decimal, percent, plain, with_interval
from aasp.errors import AaspError
from aasp.evaluate.intervals import clear
from aasp.report.style import FIRST, SECOND
from aasp.report.templates import render

Json = Mapping[str, Any]
HEADLINE = ("distance", "control_distance", "excess", "ratio", "timestamps_excess", "flips")
EACH_ROW = ("distance", "excess", "cosine", "alignment")
OF_CLIPS, CENTRED = "distance (of that between clips)", "cosine to the clean clip, centred"
# Panels of curves: title, label of the vertical axis, the measure, and the control's, dashed.
OVER_SHIFTS = (
    ("Clip", CENTRED, "cosine", "control_cosine"),
    ("Over time, aligned", "cosine to the clean tokens, centred", "timestamps_cosine", None),
    ("All clips together", "linear centred kernel alignment", "alignment", None),
)
OVER_RATES = (
    ("Clip", CENTRED, "cosine", "control_cosine"),
    ("How far it moves", OF_CLIPS, "distance", "control_distance"),
    ("Over time", OF_CLIPS, "timestamps_distance", "control_timestamps_distance"),
)


def answer(found: Json) -> str:
    """The result, in plain text."""
    return plain("stability", **_values(found))


def section(found: Json, folder: Path) -> Markup:
    """The sections of the page.

    Args:
        found: the content of `stability.json`.
        folder: its folder; sounds are read from its `sounds/`.

    Raises:
        AaspError: a sound is elsewhere.
    """
    models, nyquist = found["models"], [found["nyquist_hz"]]
    headline = [
        [family if number == 0 else "", model["name"], *_cells(model["families"][family], HEADLINE)]
        for family in models[0]["families"]
        for number, model in enumerate(models)
    ]
    rows = [
        [
            row["label"] if row["family"] in row["label"] else f"{row['family']}: {row['label']}",
            f"{row['decibel']['estimate']:.1f}",
            *(cell for model in models for cell in _cells(model["rows"][row["key"]], EACH_ROW)),
        ]
        for row in found["rows"]
    ]
    figures = {
        "families": _families(found),
        "shifts": [
            lines(curves, SHIFT, Axis(label), title=title, height=244)
            for title, label, curves in _over(found, "frames", ("shift",), OVER_SHIFTS)
        ],
        "rates": [
            *(
                lines(curves, RATE, Axis(label), title=title, tinted=nyquist)
                for title, label, curves in _over(found, "rate_hz", ("slow AM", "fast AM"), OVER_RATES)
            ),
            *(_depths(found, model) for model in models),
        ],
        "reading": _reading(found),
    }
    values = {
        "headline": headline,
        "heads": [Markup("{}<small>{}</small>").format(model["name"], name) for model in models for name in EACH_ROW],
        "rows": rows,
        "beyond": [row["beyond_control"] for row in found["rows"] if row["beyond_control"]],
        "worst": max(row["off_target"] for row in found["rows"] if row["off_target"] is not None),
        "sounds": {sound["key"]: _file(folder, sound["file"]) for sound in found["sounds"]},
    }
    return Markup(render("aliasing/stability.html", figures=figures, **values, **_values(found)))


def _values(found: Json) -> dict[str, Any]:
    """Values for both the sentence and the sections."""
    is_clear = lambda interval: interval is not None and clear(interval["low"], interval["high"])
    forms = {"decimal": decimal, "percent": percent, "with_interval": with_interval, "clear": is_clear}
    nyquist = f"{found['nyquist_hz']:.4g} Hz"
    return {"found": found, "nyquist": nyquist, "chance": 1 / len(found["rates_hz"]), **forms}


def _cells(numbers: Json, names: Sequence[str]) -> list[Markup | str]:
    """Estimates with their intervals below them, dashes if there are none."""
    texts = (with_interval(numbers.get(name), "{:.3f}".format).partition(" ") for name in names)
    return [Markup("{}<small>{}</small>").format(number, span) if span else number for number, _, span in texts]


def _families(found: Json) -> list[Markup]:
    models, families = found["models"], list(found["models"][0]["families"])
    of = lambda name: [
        _series(k, model["name"], [model["families"][family][name] for family in families])
        for k, model in enumerate(models)
    ]
    label = "excess (distances between clips)"
    return [
        intervals(families, of("excess"), marked=0, title="Further than the control", label=label),
        intervals(families, of("ratio"), marked=1, title="Times as far as the control", label="ratio", log=2),
    ]


def _reading(found: Json) -> list[Markup]:
    read = [*found["models"], {"name": "log-mel statistics", "reading": found["log_mel"]}]
    chance, rates, share = 1 / len(found["rates_hz"]), found["rates_hz"], "share of clips"
    curves = [_curve(one["name"], rates, one["reading"]["by_rate"], color(k)) for k, one in enumerate(read)]
    curves.append(Curve(rates, [chance] * len(rates), color(len(read) - 1), line=DASHED))
    series = [
        _series(k, one["name"], [one["reading"][how] for how in ("alone", "compared")]) for k, one in enumerate(read)
    ]
    return [
        lines(curves, RATE, Axis(share), title="Rates decoded correctly", tinted=[found["nyquist_hz"]]),
        intervals(["from it alone", "from the change"], series, marked=chance, title="All rates together", label=share),
    ]


def _series(number: int, name: str, values: Sequence[Json | None]) -> tuple[str, list[str], np.ndarray]:
    return name, [color(number)] * len(values), np.array([ends(value) for value in values])


def _over(
    found: Json, setting: str, families: Sequence[str], panels: Sequence[tuple[str, str, str, str | None]]
) -> list[tuple[str, str, list[Curve]]]:
    """For each panel its title, label, and curves over a setting of families' rows: of each model, and its control."""
    rows = [row for row in found["rows"] if row["family"] in families]
    x, made = [row["settings"][setting] for row in rows], []
    for title, label, measure, control in panels:
        curves = []
        for number, model in enumerate(found["models"]):
            of = lambda name, model=model: [model["rows"][row["key"]][name] for row in rows]
            curves.append(_curve(model["name"], x, of(measure), color(number)))
            if control is not None:
                curves.append(_curve("", x, of(control), color(number), control=True))
        made.append((title, label, curves))
    return made


def _depths(found: Json, model: Json) -> Markup:
    """Distance over strength: for the control, and for rates measured at several depths."""
    modulations = [row for row in found["rows"] if row["kind"] in ("AmplitudeModulation", "SlowModulation")]
    modulations.sort(key=lambda row: row["settings"]["decibel"])
    deeper = [row["settings"] for row in found["rows"] if row["family"] == "AM depth"]
    highest = max(settings["decibel"] for settings in deeper)
    tones = {None: FIRST} | dict(zip(dict.fromkeys(one["rate_hz"] for one in deeper), (FIRST, SECOND), strict=True))
    curves = []
    for rate, tone in tones.items():
        rows = [row for row in modulations if row["settings"].get("rate_hz") == rate]
        rows = [row for row in rows if row["settings"]["decibel"] <= highest]
        x = [row["settings"]["decibel"] for row in rows]
        distances = [model["rows"][row["key"]]["distance"] for row in rows]
        curves.append(_curve("" if rate is None else f"{rate:g} Hz", x, distances, tone, control=rate is None))
    strength, distance = Axis("change of the log-mel (rms dB)", (0, None)), Axis(OF_CLIPS, (0, None))
    return lines(curves, strength, distance, title=f"Deeper: {model['name']}")


def _curve(name: str, x: Sequence[float], values: Sequence[Json | None], tone: str, control: bool = False) -> Curve:
    estimate, low, high = np.array([ends(value) for value in values]).T
    if control:
        return Curve(x, estimate, tone, line=DASHED)
    return Curve(x, estimate, tone, name, dots=True, low=low, high=high)


def _file(folder: Path, name: str) -> Path:
    """A sound file, for the template to read."""
    if Path(name).name != name:
        place = f"names {name}, which is not in its folder of sounds"
        raise AaspError(f"{folder}: {place}; measure it again with --overwrite")
    return folder / "sounds" / name
