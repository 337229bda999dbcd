"""Stability's part of the laboratory's report: from `stability.json` to an answer and sections of the page.

What figures draw of `stability.json`: curves over rows, and intervals.

Legend: K points of a curve.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from aasp.aliasing.stability.figures import Bar, Curve, color, intervals, over_rate, over_shift, over_strength
from aasp.errors import AaspError
from aasp.evaluate.intervals import clear, span
from aasp.report.listing import listing
from aasp.report.page import Section
from aasp.report.style import FIRST, SECOND


def answer(found: Json) -> str:
    """What came out, in plain text."""
    nyquist, moved = _hertz(found), {m["name"]: m["families"].get("fast AM") for m in found["models"]}
    if not all(moved.values()):
        return f"Stability: no modulation that was tried is faster than {nyquist}, half the token rate."
    each = [f"{name} {_number(family['ratio'])}" for name, family in moved.items() if family]
    told = (
        f"Stability: modulations faster than {nyquist}, half the token rate, move embeddings so many times as far as "
        f"slow ones of the same log-mel energy do: {', '.join(each)}."
    )
    for lead in found["leads"]:
        ratio = lead["families"]["fast AM"]["ratio"]
        told += f" The ratio of {lead['model']} less that of {lead['minus']}: {_number(ratio, '+')}{_clear(ratio)}."
    read = [f"{model['name']} {_percent(model['reading']['heard'])}" for model in found["models"]]
    chance = 100 / len(found["rates_hz"])
    return f"{told} Which rate it was can be read from the embedding of: {', '.join(read)}; chance is {chance:.1f} %."


def section(found: Json, folder: Path) -> list[Section]:
    """Sections of the page.

    Args:
        found: what `stability.json` holds.
        folder: where it lies; sounds are read from its `sounds/`.
    """
    return [_headline(found), _shifts(found), _rates(found), _reading(found), _rows(found), _sounds(found, folder)]


def _headline(found: Json) -> Section:
    models, families = found["models"], list(found["models"][0]["families"])
    head = ["", "model", "distance", "control's", "excess", "ratio", "over time", "flips"]
    rows = []
    for family in families:
        for number, model in enumerate(models):
            told = model["families"][family]
            names = ("distance", "control_distance", "excess", "ratio", "timestamps_excess", "flips")
            cells = [_cell(told.get(name)) for name in names]
            rows.append([escape(family) if number == 0 else "", escape(model["name"]), *cells])
    bars = [(m["name"], [bar(m["families"][family]["excess"]) for family in families]) for m in models]
    ratios = [(m["name"], [bar(m["families"][family]["ratio"]) for family in families]) for m in models]
    panels = [
        intervals(families, bars, marked=0, title="Further than the control", label="excess (distances between clips)"),
        intervals(families, ratios, marked=1, title="Times as far as the control", label="ratio", log=True),
        listing("Stability by family of perturbations", head, rows, left=2, across=True),
    ]
    note = (
        "<b>Distance</b>: how far a perturbation moves the clip's embedding; 1 is the median distance between two "
        "clean clips. <b>Control</b>: a change of loudness slower than the patches can tell, that moves the same "
        "clip's log-mel by as many rms dB. <b>Excess</b> is the difference, clip by clip, <b>ratio</b> the quotient "
        "of the means, <b>over time</b> the excess of the tokens, aligned in time. Zero excess, or a ratio of one: no "
        "further than any other change of that size. A ratio says nothing of how far that is: an encoder that hardly "
        "minds loudness has large ratios of small distances. Brackets and bars are 95 % intervals by bootstrap over "
        f"{found['clips']} clips{_grouped(found)}. {_flips(found)} {_beyond(found)}"
    )
    text = (
        f"{len(found['rows'])} perturbations of {found['clips']} clips, each against the clean clip and against a slow "
        f"change of loudness of the same size. Fast and slow are above and below {_hertz(found)}, half the token rate."
    )
    return Section("How far small changes over time move embeddings", text, panels, note)


def _shifts(found: Json) -> Section:
    rows = [row for row in found["rows"] if row["family"] == "shift"]
    frames = np.array([row["settings"]["frames"] for row in rows], dtype=float)
    patch = 50 / found["nyquist_hz"]
    panels = [
        over_shift(
            curves(found, rows, frames, measure, control),
            patch_frames=patch,
            title=title,
            what=what,
        )
        for measure, control, title, what in (
            ("cosine", "control_cosine", "Clip", "cosine to the clean clip, centred"),
            ("timestamps_cosine", None, "Over time, aligned", "cosine to the clean tokens, centred"),
            ("alignment", None, "All clips together", "linear centred kernel alignment"),
        )
    ]
    return Section(
        "The sound begins a little later",
        f"An encoder that cut no grid would not mind. Here a token comes every {patch:.3g} frames, and shifts stay "
        "below one: the same sound meets the grid elsewhere.",
        panels,
        "One is unmoved. Embeddings are centred by the mean of the clean clips first: raw ones all point the same way "
        "and would look alike whatever happens. Bands are 95 % intervals; dashed, the control of equal log-mel energy, "
        "which is large for shifts: noise never repeats itself. Tokens over time are compared with the clean ones at "
        "the time they hear, by linear interpolation, so half a patch (the vertical line) is the hardest.",
    )


def _rates(found: Json) -> Section:
    rows = [row for row in found["rows"] if row["family"] in ("slow AM", "fast AM")]
    hertz = np.array([row["settings"]["rate_hz"] for row in rows])
    panels = [
        over_rate(
            curves(found, rows, hertz, measure, control),
            nyquist_hz=found["nyquist_hz"],
            title=title,
            what=what,
        )
        for measure, control, title, what in (
            ("cosine", "control_cosine", "Clip", "cosine to the clean clip, centred"),
            ("distance", "control_distance", "How far it moves", "distance (of that between clips)"),
            ("timestamps_distance", "control_timestamps_distance", "Over time", "distance (of that between clips)"),
        )
    ]
    panels += [
        over_strength(depths(found, model), title=f"Deeper: {model['name']}", what="distance (of that between clips)")
        for model in found["models"]
    ]
    worst = max(row["off_target"] for row in found["rows"] if row["off_target"] is not None)
    return Section(
        "Loudness swings",
        f"Loudness swings at one rate, by as much as moves the log-mel by {found['decibel']:g} dB rms. Tinted: "
        f"above {_hertz(found)}, half the token rate, where patches alias.",
        panels,
        "<b>An encoder that treats all changes of equal energy alike</b> follows the dashed line: the control, whose "
        "rate lies below. Above it, modulations move the embedding further than their energy would; near no movement, "
        "the encoder may just not hear them: see the next section. The last panels vary depth: dashed the control, "
        "teal 9 Hz, amber 26 Hz. Depth is set for each clip by measuring; the energy is off what is stated by "
        f"{100 * worst:.2g} % at most.",
    )


def _reading(found: Json) -> Section:
    chance, rates = 1 / len(found["rates_hz"]), np.array(found["rates_hz"])
    listeners = [*found["models"], {"name": "log-mel statistics", "reading": found["log_mel"]}]
    drawn = [
        curve(one["name"], rates, one["reading"]["by_rate"], color(number)) for number, one in enumerate(listeners)
    ]
    level = np.full(len(rates), chance)
    drawn.append(Curve("", rates, level, level, level, drawn[-1].color, control=True))
    ways = ["from it alone", "from the change"]
    bars = [(one["name"], [bar(one["reading"][how]) for how in ("heard", "compared")]) for one in listeners]
    panels = [
        over_rate(drawn, nyquist_hz=found["nyquist_hz"], title="Rates told right", what="share of clips"),
        intervals(ways, bars, marked=chance, title="All rates together", label="share of clips"),
    ]
    best = "; ".join(f"{escape(model['name'])} {_percent(model['reading']['heard'])}" for model in found["models"])
    leads = "".join(
        f" {escape(lead['model'])} minus {escape(lead['minus'])}: {_percent(lead['heard'], sign='+')}"
        f"{_clear(lead['heard'])}."
        for lead in found["leads"]
    )
    return Section(
        "Stable, or just deaf?",
        "An encoder that ignores modulations is stable, trivially. So a linear probe is asked which of "
        f"{len(rates)} rates was put into a clip, by {found['decibel']:g} dB rms: {best}; chance is "
        f"{100 * chance:.1f} %.{leads}",
        panels,
        "The probe is trained on half of the clips and reads the other half, both ways. <b>From it alone</b>: from "
        "the embedding of the modulated clip. <b>From the change</b>: from how it differs from the clean clip's, which "
        "asks less. For comparison the same is read from statistics of the log-mel (mean, deviation, deviation of the "
        "change from frame to frame). Stability is worth something where the rate is read well above the dashed line.",
    )


def _rows(found: Json) -> Section:
    models = found["models"]
    titles = [f"{escape(model['name'])}<small>{name}</small>" for model in models for name in _TOLD]
    rows = []
    for row in found["rows"]:
        cells = [_cell(model["rows"][row["key"]].get(name)) for model in models for name in _TOLD]
        family = "" if row["family"] in row["label"] else f"{escape(row['family'])}: "
        rows.append([f"{family}{escape(row['label'])}", f"{row['decibel']['estimate']:.1f}", *cells])
    return Section(
        "Every perturbation",
        f"The loudest {found['seconds']:g} s of each clip, {found['clips']} clips.",
        [listing("Every perturbation", ["perturbation", "dB", *titles], rows, across=True)],
        "<b>dB</b>: rms change of the log-mel, mean over clips. <b>Cosine</b>: of centred clip embeddings. "
        "<b>Alignment</b>: linear centred kernel alignment. More measures of each row are in stability.json.",
    )


_TOLD = ("distance", "excess", "cosine", "alignment")


def _sounds(found: Json, folder: Path) -> Section:
    players = []
    for sound in found["sounds"]:
        if Path(sound["file"]).name != sound["file"]:
            raise AaspError(f"{folder}: names {sound['file']}, which is not in its folder of sounds; measure it anew")
        data = base64.b64encode((folder / "sounds" / sound["file"]).read_bytes()).decode()
        source = f"data:audio/flac;base64,{data}"
        players.append(f'<p>{escape(sound["key"])}<audio controls preload="none" src="{source}"></audio></p>')
    return Section(
        "What that sounds like",
        "One of the clips, clean and perturbed; to a listener it stays the same sound.",
        players,
        "The clip is the median one: a modulation of 9 Hz moves the first model's embedding further in half of them.",
    )


def _number(told: Json | None, sign: str = "") -> str:
    if told is None:
        return "undefined"
    tell = lambda value: f"{value:{sign}.2f}"
    return f"{tell(told['estimate'])} [{span(told['low'], told['high'], tell)}]"


def _percent(told: Json, sign: str = "") -> str:
    tell = lambda value: f"{100 * value:{sign}.0f}"
    return f"{tell(told['estimate'])} % [{span(told['low'], told['high'], tell)}]"


def _cell(told: Json | None) -> str:
    if told is None:
        return "–"
    return f"{told['estimate']:.3f}<small>[{span(told['low'], told['high'], '{:.3f}'.format)}]</small>"


def _clear(told: Json | None) -> str:
    return "" if told is not None and clear(told["low"], told["high"]) else ", no clear difference"


def _hertz(found: Json) -> str:
    return f"{found['nyquist_hz']:.4g} Hz"


def _flips(found: Json) -> str:
    if not found["label"]:
        return "Whether decisions change was not looked at: no --label was given."
    right = ", ".join(f"{escape(model['name'])} {_percent(model['accuracy'])}" for model in found["models"])
    return (
        f"<b>Flips</b>: share of clips that a linear probe of <code>{escape(found['label'])}</code>, trained on other "
        f"clips, names otherwise than when clean; clean ones it names right in {right}."
    )


def _grouped(found: Json) -> str:
    return f" in {found['groups']} groups ({escape(str(found['group']))})" if found["group"] else ""


def _beyond(found: Json) -> str:
    """What the comparison with the control leaves out, and what was skipped."""
    beyond = {row["label"]: row["beyond_control"] for row in found["rows"] if row["beyond_control"]}
    told = ""
    if beyond:
        told = (
            f"In {len(beyond)} row(s) some clips, at most {max(beyond.values())}, change by more than the strongest "
            "control and are left out of its comparison. "
        )
    if found["skipped"]:
        told += f"{len(found['skipped'])} clip(s) were skipped: too short, silent or unreadable."
    return told


Json = Mapping[str, Any]


def curves(found: Json, rows: Sequence[Json], x: np.ndarray, measure: str, control: str | None) -> list[Curve]:
    """A curve of each model over rows, and its control's."""
    made = []
    for number, model in enumerate(found["models"]):
        of = lambda name, model=model: [model["rows"][row["key"]][name] for row in rows]
        made.append(curve(model["name"], x, of(measure), color(number)))
        if control is not None:
            made.append(curve("", x, of(control), color(number), control=True))
    return made


def depths(found: Json, model: Json) -> list[Curve]:
    """Distance over strength: of the control, and of the rates that were tried at several depths."""
    deeper = dict.fromkeys(row["settings"]["rate_hz"] for row in found["rows"] if row["family"] == "AM depth")
    highest = max(row["settings"]["decibel"] for row in found["rows"] if row["family"] == "AM depth")
    sets: list[tuple[str, str, float | None, str]] = [("", "SlowModulation", None, FIRST)]
    for hertz, tone in zip(deeper, (FIRST, SECOND), strict=True):
        sets.append((f"{hertz:g} Hz", "AmplitudeModulation", hertz, tone))
    made = []
    for name, kind, hertz, tone in sets:
        rows = [
            row
            for row in found["rows"]
            if row["kind"] == kind
            and row["settings"]["decibel"] <= highest
            and hertz in (None, row["settings"].get("rate_hz"))
        ]
        rows.sort(key=lambda row: row["settings"]["decibel"])
        x = np.array([row["settings"]["decibel"] for row in rows])
        told = [model["rows"][row["key"]]["distance"] for row in rows]
        made.append(curve(name, x, told, tone, control=hertz is None))
    return made


def curve(name: str, x: np.ndarray, told: Sequence[Json | None], tone: str, control: bool = False) -> Curve:
    """A curve at x (K,); None where it has no value."""
    values = [[None] * 3 if t is None else [t[k] for k in ("estimate", "low", "high")] for t in told]
    estimate, low, high = np.array(values, dtype=float).T  # None becomes NaN
    return Curve(name, x, estimate, low, high, tone, control)


def bar(told: Json | None) -> Bar:
    """An interval, None where there is none."""
    values = [None] * 3 if told is None else [told[key] for key in ("estimate", "low", "high")]
    return Bar(*np.array(values, dtype=float))
