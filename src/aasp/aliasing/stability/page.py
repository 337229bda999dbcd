"""Stability on the laboratory's page: from `stability.json` to a sentence and sections."""

from __future__ import annotations

import base64
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


def answer(found: Json) -> str:
    """What came out, in plain text."""
    return plain("stability", **_values(found))


def section(found: Json, folder: Path) -> Markup:
    """The sections of the page.

    Args:
        found: what `stability.json` holds.
        folder: where it lies; sounds are read from its `sounds/`.

    Raises:
        AaspError: a sound lies elsewhere.
    """
    families = list(found["models"][0]["families"])
    headline = [
        [family if number == 0 else "", model["name"], *_cells(model["families"][family], HEADLINE)]
        for family in families
        for number, model in enumerate(found["models"])
    ]
    rows = [
        [
            row["label"] if row["family"] in row["label"] else f"{row['family']}: {row['label']}",
            f"{row['decibel']['estimate']:.1f}",
            *(cell for model in found["models"] for cell in _cells(model["rows"][row["key"]], EACH_ROW)),
        ]
        for row in found["rows"]
    ]
    heads = [
        Markup("{}<small>{}</small>").format(model["name"], name) for model in found["models"] for name in EACH_ROW
    ]
    panels = {
        "families": _families(found, families),
        "shifts": _shifts(found),
        "rates": _rates(found),
        "reading": _reading(found),
    }
    beyond = [row["beyond_control"] for row in found["rows"] if row["beyond_control"]]
    values = {"headline": headline, "heads": heads, "rows": rows, "beyond": beyond, "sounds": _sounds(found, folder)}
    worst = max(row["off_target"] for row in found["rows"] if row["off_target"] is not None)
    return Markup(render("aliasing/stability.html", figures=panels, worst=worst, **values, **_values(found)))


def _values(found: Json) -> dict[str, Any]:
    """What the sentence and the sections both name."""
    is_clear = lambda interval: interval is not None and clear(interval["low"], interval["high"])
    forms = {"decimal": decimal, "percent": percent, "with_interval": with_interval, "clear": is_clear}
    nyquist = f"{found['nyquist_hz']:.4g} Hz"
    return {"found": found, "nyquist": nyquist, "chance": 1 / len(found["rates_hz"]), **forms}


def _cells(numbers: Json, names: Sequence[str]) -> list[Markup | str]:
    form = "{:.3f}".format
    return [
        "–" if (one := numbers.get(name)) is None else Markup("{}<small>{}</small>").format(*_split(one, form))
        for name in names
    ]


def _split(one: Json, form: Any) -> list[str]:
    """An estimate, and its interval in brackets."""
    return with_interval(one, form).split(" ", 1)


def _families(found: Json, families: Sequence[str]) -> list[Markup]:
    of = lambda name: [
        _series(k, model["name"], [model["families"][family][name] for family in families])
        for k, model in enumerate(found["models"])
    ]
    label = "excess (distances between clips)"
    return [
        intervals(families, of("excess"), marked=0, title="Further than the control", label=label),
        intervals(families, of("ratio"), marked=1, title="Times as far as the control", label="ratio", log=2),
    ]


def _series(number: int, name: str, values: Sequence[Json | None]) -> tuple[str, list[str], np.ndarray]:
    return name, [color(number)] * len(values), np.array([ends(value) for value in values])


def _shifts(found: Json) -> list[Markup]:
    rows = [row for row in found["rows"] if row["family"] == "shift"]
    frames = [row["settings"]["frames"] for row in rows]
    measures: list[tuple[str, str | None, str, str]] = [
        ("cosine", "control_cosine", "Clip", CENTRED),
        ("timestamps_cosine", None, "Over time, aligned", "cosine to the clean tokens, centred"),
        ("alignment", None, "All clips together", "linear centred kernel alignment"),
    ]
    return [
        lines(_curves(found, rows, frames, measure, control), SHIFT, Axis(what), title=title, height=244)
        for measure, control, title, what in measures
    ]


def _rates(found: Json) -> list[Markup]:
    rows = [row for row in found["rows"] if row["family"] in ("slow AM", "fast AM")]
    hertz = [row["settings"]["rate_hz"] for row in rows]
    measures = [
        ("cosine", "control_cosine", "Clip", CENTRED),
        ("distance", "control_distance", "How far it moves", OF_CLIPS),
        ("timestamps_distance", "control_timestamps_distance", "Over time", OF_CLIPS),
    ]
    strength, distance = Axis("change of the log-mel (rms dB)", (0, None)), Axis(OF_CLIPS, (0, None))
    panels = [
        lines(
            _curves(found, rows, hertz, measure, control), RATE, Axis(what), title=title, tinted=[found["nyquist_hz"]]
        )
        for measure, control, title, what in measures
    ]
    deeper = [lines(_depths(found, m), strength, distance, title=f"Deeper: {m['name']}") for m in found["models"]]
    return [*panels, *deeper]


def _reading(found: Json) -> list[Markup]:
    read = [*found["models"], {"name": "log-mel statistics", "reading": found["log_mel"]}]
    chance, rates = 1 / len(found["rates_hz"]), found["rates_hz"]
    curves = [_curve(one["name"], rates, one["reading"]["by_rate"], color(k)) for k, one in enumerate(read)]
    curves.append(Curve(rates, [chance] * len(rates), color(len(read) - 1), line=DASHED))
    series = [
        _series(k, one["name"], [one["reading"][how] for how in ("heard", "compared")]) for k, one in enumerate(read)
    ]
    share = "share of clips"
    return [
        lines(curves, RATE, Axis(share), title="Rates decoded correctly", tinted=[found["nyquist_hz"]]),
        intervals(["from it alone", "from the change"], series, marked=chance, title="All rates together", label=share),
    ]


def _curves(found: Json, rows: Sequence[Json], x: Sequence[float], measure: str, control: str | None) -> list[Curve]:
    """A curve of each model over rows, and its control's, dashed."""
    made = []
    for number, model in enumerate(found["models"]):
        of = lambda name, model=model: [model["rows"][row["key"]][name] for row in rows]
        made.append(_curve(model["name"], x, of(measure), color(number)))
        if control is not None:
            made.append(_curve("", x, of(control), color(number), control=True))
    return made


def _depths(found: Json, model: Json) -> list[Curve]:
    """Distance over strength: of the control, and of the rates that were tried at several depths."""
    deeper = [row["settings"] for row in found["rows"] if row["family"] == "AM depth"]
    highest = max(settings["decibel"] for settings in deeper)
    sets: list[tuple[str, float | None, str]] = [("SlowModulation", None, FIRST)]
    hertz = dict.fromkeys(settings["rate_hz"] for settings in deeper)
    sets += [("AmplitudeModulation", *pair) for pair in zip(hertz, (FIRST, SECOND), strict=True)]
    made = []
    for kind, rate, tone in sets:
        rows = [
            row
            for row in found["rows"]
            if row["kind"] == kind
            and row["settings"]["decibel"] <= highest
            and rate in (None, row["settings"].get("rate_hz"))
        ]
        rows.sort(key=lambda row: row["settings"]["decibel"])
        x = [row["settings"]["decibel"] for row in rows]
        distances = [model["rows"][row["key"]]["distance"] for row in rows]
        made.append(_curve("" if rate is None else f"{rate:g} Hz", x, distances, tone, control=rate is None))
    return made


def _curve(name: str, x: Sequence[float], values: Sequence[Json | None], tone: str, control: bool = False) -> Curve:
    estimate, low, high = np.array([ends(value) for value in values]).T
    if control:
        return Curve(x, estimate, tone, line=DASHED)
    return Curve(x, estimate, tone, name, dots=True, low=low, high=high)


def _sounds(found: Json, folder: Path) -> list[tuple[str, str]]:
    """Key and data URL of every sound."""
    sounds = []
    for sound in found["sounds"]:
        if Path(sound["file"]).name != sound["file"]:
            place = f"names {sound['file']}, which is not in its folder of sounds"
            raise AaspError(f"{folder}: {place}; measure it again with --overwrite")
        data = base64.b64encode((folder / "sounds" / sound["file"]).read_bytes()).decode()
        sounds.append((sound["key"], f"data:audio/flac;base64,{data}"))
    return sounds
