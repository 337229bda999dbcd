"""The kernels' part of the laboratory's report: from `kernels.json` to sections of the page.

The report's part on learned parameters and their start: from `departure` in `kernels.json` to a section.

Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from aasp.aliasing.kernels import departed
from aasp.aliasing.kernels.departure import LEFT, conclusion
from aasp.aliasing.kernels.document import spectrogram_of
from aasp.aliasing.kernels.estimates import Measured, number, percent
from aasp.aliasing.kernels.figures import (
    channel_peaks,
    channel_power,
    departures,
    pull_of_phases,
    pull_of_windows,
    start_against_now,
    temporal_kernels,
)
from aasp.report.learning import curve
from aasp.report.listing import listing
from aasp.report.page import Section
from aasp.report.rates import decay_histogram, decay_over_frequency, frequency_histogram, hertz_label
from aasp.report.spectrogram import patch_rates

EVOLUTION = {
    "alpha_mean": ("Decay", "mean of α (per frame)"),
    "alpha_spread": ("Decay from patch to patch", "deviation of α (per frame)"),
    "alpha_saturation": ("Decays at a bound", "share of α"),
    "beta_mean": ("Frequency", "mean of β (rad per frame)"),
    "beta_spread": ("Frequency from patch to patch", "deviation of β (rad per frame)"),
    "beta_saturation": ("Frequencies at a bound", "share of β"),
    "sblu_gradient_norm": ("What reaches the unit", "norm of its gradient"),
}
NAMES = {"alpha": ("decay α", "per frame"), "beta": ("frequency β", "Hz")}
CHANGES = {
    "shared": "one set for all patches",
    "shuffled": "another patch's",
    "off": "the unit's features off",
}


def answer(found: dict[str, Any]) -> str:
    """What came out, in a sentence of plain text."""
    low, clips = found["band_hz"][0], len(found["clips"])
    if "parameters" not in found:
        linear = found["linear"]
        share = percent(linear["beyond"]) if linear["adapts"] else f"{number(linear['beyond']['estimate'])} %"
        if linear["heard"]:
            return (
                f"Kernels: of what {found['subject']}'s vectors follow of modulations put into {linear['clips']} "
                f"clips, {share} lies beyond {hertz_label(low)} Hz, which {2 * low:.3g} vectors a second alias."
            )
        whatever = f"on {linear['clips']} clips" if linear["adapts"] else "whatever the clip"
        return (
            f"Kernels: {share} of the power of {found['subject']}'s temporal kernels lies, {whatever}, at modulations "
            f"beyond {hertz_label(low)} Hz, which its patches alias."
        )
    beta, shared = found["parameters"]["beta"], found["interventions"]["shared"]
    return (
        f"Kernels: on {clips} clips the frequencies of {found['subject']} lie {percent(beta['distance'])} of the band "
        f"from where they began (an untrained stem's {percent(beta['distance at start'])}), "
        f"{percent(beta['variance']['sound'])} of their variance depends on the sound, and one set shared by all "
        f"patches in place of the estimates changes tokens by {percent(shared['tokens'])} of their spread."
    )


def section(found: dict[str, Any], folder: Path) -> list[Section]:
    """Sections of the page.

    Args:
        found: what `kernels.json` holds.
        folder: where it lies; nothing else is read there.
    """
    estimated = [_where(found), _overlays(found), _pays(found)] if "parameters" in found else []
    evolution = [_evolution(found)] if found["evolution"] else []
    channels = _heard(found) if found["linear"]["heard"] else _linear(found)
    rows = [row for row in found.get("departure", ()) if "parameters" not in found or not _of_stem(row)]
    return [*estimated, *evolution, channels, _pull(found), *departed.sections(rows)]


def _of_stem(row: dict[str, Any]) -> bool:
    """Whether a row of `departure` is of a stem; where its states are estimated it stands with these."""
    return str(row["part"]).startswith("stem ")


def _where(found: dict[str, Any]) -> Section:
    p, band, clips = found["parameters"], tuple(found["band_hz"]), len(found["clips"])
    alpha, beta, bounds = p["alpha"], p["beta"], tuple(p["alpha"]["bounds"])
    starts = np.array(p["starts"]["alpha"]), np.array(p["starts"]["beta_hz"])
    rows = []
    for name, one in (("alpha", alpha), ("beta", beta)):
        for when, suffix in (("trained", ""), ("untrained", " at start")):
            at = one[f"saturation{suffix}"]
            cells = [_cell(one[f"distance{suffix}"]), _cell(at["low"]), _cell(at["high"])]
            rows.append([f"{NAMES[name][0]}, {when}", *cells])
    low, high = map(hertz_label, band)
    seed = "the one that this run began with" if p["seed"] is not None else "a new one of the same architecture"
    learned = [row for row in found.get("departure", ()) if _of_stem(row)]
    left = [NAMES[name][0] for name, one in (("alpha", alpha), ("beta", beta)) if (one["moved"]["low"] or 0) > 0]
    told = {
        0: "Neither decays nor frequencies have clearly left their start",
        1: f"Of decay α and frequency β only {left[0] if left else ''} has clearly left its start",
        2: "Decays and frequencies have left their start",
    }[len(left)]
    return Section(
        "Where decays and frequencies go",
        f"""{told}: by {_told(beta["moved"])} of the band for frequencies and {_told(alpha["moved"])} of the range
        for decays more than in an untrained stem, over {clips} clips (95 % interval over clips).""",
        [
            frequency_histogram(_shares(beta, "start"), _shares(beta, "now"), title="Frequencies", band=band),
            decay_histogram(_shares(alpha, "start"), _shares(alpha, "now"), title="Decays", bounds=bounds),
            decay_over_frequency(
                np.array(p["density"]), start=starts, bounds=bounds, title="Decay and frequency", band=band
            ),
            listing(
                "Distance from the start and saturation, in per cent of the range and of the states",
                ["in %", "from the start", "at the lower bound", "at the upper"],
                rows,
            )
            + (departed.table(learned) if learned else ""),
        ],
        f"""<b>Histograms:</b> every state of every patch; filled, after training; outlined, the untrained stem
        ({seed}) on the same clips. The axis of frequencies is the alias-prone band, {low} to {high} Hz:
        the bounds keep them in it. <b>At a bound:</b> within 2 % of the range of it; many there want to go further.
        <b>From the start:</b> mean distance from the values that states are spread at, as a share of the range.""",
    )


def _overlays(found: dict[str, Any]) -> Section:
    patch, band = tuple(found["patch"]), tuple(found["band_hz"])
    panels = [
        patch_rates(
            spectrogram_of(one, found["frame_rate"], patch),
            np.array(one["rate_hz"]),
            np.array(one["strength"]),
            title=f"{Path(one['name']).name}" + (f", from {one['begins']:.1f} s" if one["begins"] else ""),
            band=band,
        )
        for one in found["overlays"]
    ]
    return Section(
        "Which patches look at which modulation rate",
        """Each patch has several states; shown is the one that answers strongest to what is in the patch. Where nothing
        is modulated nothing answers, and the paper stays bare.""",
        panels,
        """A spectrogram: time runs to the right, pitch upwards, loudness is ink. <b>Hue:</b> the modulation rate that a
        patch's strongest state looks at, blue slow, red fast. <b>Depth of colour:</b> how strongly it answers, against
        the strongest of the clip. Look for steady beats (one hue along a row) and for clicks (a column of red).""",
    )


def _pays(found: dict[str, Any]) -> Section:
    p, changes = found["parameters"], found["interventions"]
    rows = []
    for name, (title, unit) in NAMES.items():
        for when, suffix in (("trained", ""), ("untrained", " at start")):
            v = p[name][f"variance{suffix}"]
            nested = [_html(v[part]) for part in ("clips", "patches", "states")]
            rows.append([f"{title}, {when}", _cell(v["sound"]), f"{v['moves']:.2g}<small>{unit}</small>", *nested])
    effects = [
        [CHANGES[how], _cell(one["tokens"]), "–" if how == "off" else _cell(one["features"])]
        for how, one in changes.items()
    ]
    sound = p["beta"]["variance"]["sound"]
    shared, off = changes["shared"]["tokens"], changes["off"]["tokens"]
    return Section(
        "Does it pay to estimate them?",
        f"""{_told(sound)} of the frequencies' variance and {_told(p["alpha"]["variance"]["sound"])} of the decays'
        depends on the sound. One set of parameters for all patches in place of the estimates changes tokens by
        {_told(shared)} of their spread; switching the unit off, by {_told(off)}.""",
        [
            listing(
                "Where the variance of decays and frequencies comes from, in per cent",
                ["in %", "with the sound", "moves by", "between clips", "patches of a clip", "states of a patch"],
                rows,
                across=True,
            ),
            listing(
                "What changing the parameters does to tokens and to the unit's outputs, in per cent",
                ["parameters in a patch, change in %", "tokens", "outputs"],
                effects,
                across=True,
            ),
        ],
        """<b>Above, with the sound:</b> the part of a parameter's variance that is left when each subband and state
        keeps its own mean; parameters that are learned but shared could do the rest. <b>Moves by:</b> its standard
        deviation. The last three split all of the variance: clips differ, patches of a clip differ, states of a patch
        differ. <b>Below:</b> root mean square change, as a share of how much tokens differ from patch to patch. This is
        an intervention on a stem that was trained with its estimates: whether one trained with shared parameters would
        do as well is a matter of training it, <code>aasp ablate</code>.""",
    )


def _evolution(found: dict[str, Any]) -> Section:
    panels = [
        curve(*np.array(found["evolution"][name], float).T, title=title, label=label)
        for name, (title, label) in EVOLUTION.items()
        if name in found["evolution"]
    ]
    return Section(
        "How they got there",
        "From the run's own log of its health, on the batches that it was trained on.",
        panels,
        """<b>Mean and deviation:</b> parameters that stay where they began would draw level lines. The deviation is
        from patch to patch, within a state. <b>At a bound:</b> rising lines want a wider range. <b>Gradient:</b> all
        but the convolution's; near zero nothing more would be learned.""",
    )


def _linear(found: dict[str, Any]) -> Section:
    linear, low = found["linear"], found["band_hz"][0]
    half = found["frame_rate"] / 2
    share = _told(linear["beyond"]) if linear["adapts"] else f"{_html(linear['beyond']['estimate'])} %"
    peaks = f"{100 * linear['peaks beyond']['estimate']:.0f} %"
    adapts = (
        f"They adapt to the sound: this is around the loudest patch of each of {linear['clips']} clips."
        if linear["adapts"]
        else "They are the same for every clip: the stem is linear."
    )
    return Section(
        "The stem's temporal kernels",
        f"""{share} of the kernels' power lies beyond {hertz_label(low)} Hz, half the token rate, and {peaks} of the
        channels respond most there. What passes at such rates is folded onto slower ones in the tokens. {adapts}""",
        [
            channel_power(np.array(linear["hertz"]), np.array(linear["power"]), low, title="What channels let through"),
            channel_peaks(np.array(linear["peaks"]), half, low, title="Where they respond most"),
            temporal_kernels(linear["examples"], found["frame_rate"], title="Three of them over time"),
        ],
        f"""A token's kernel is its derivative by the spectrogram around it: for a convolution, its weights.
        <b>Power:</b> line, the median of {linear["channels"]:,} channels; shade, four fifths of them. <b>Tinted:</b>
        rates that patches alias. A kernel as long as a patch can't resolve much finer than 6 Hz at 160 ms.""",
    )


def _heard(found: dict[str, Any]) -> Section:
    linear, low = found["linear"], found["band_hz"][0]
    return Section(
        "Which modulations its channels follow",
        f"""An encoder of waveforms has no kernels of a spectrogram to be read, so they were heard from outside: the
        loudness of {linear["clips"]} clips was swung at each rate, and what turns with the swing was kept.
        {_told(linear["beyond"])} of it lies beyond {hertz_label(low)} Hz, half of its vectors a second, and
        {100 * linear["peaks beyond"]["estimate"]:.0f} % of the channels follow a rate there most.""",
        [
            channel_power(np.array(linear["hertz"]), np.array(linear["power"]), low, title="What channels follow"),
            channel_peaks(np.array(linear["peaks"]), found["frame_rate"] / 2, low, title="What they follow most"),
        ],
        f"""<b>Power:</b> line, the median of {linear["channels"]:,} channels; shade, four fifths of them.
        <b>Tinted:</b> rates that are folded onto slower ones.""",
    )


def _pull(found: dict[str, Any]) -> Section:
    pull, rate = found["pull"], found["frame_rate"]
    distances = np.array(pull["distances"])
    lengths = sorted({row["taps"] for row in pull["rows"]})
    conjugate = lambda taps: [r for r in pull["rows"] if r["taps"] == taps and r["phase"] == "conjugate"]
    both = [r for r in pull["rows"] if r["taps"] == lengths[-1] and r["window"] == "two-sided"]
    return Section(
        "How far away a frequency still feels a pull",
        f"""A frequency is learned by following the gradient of the kernel's power. Over long windows the two-sided
        exponential still pulls where a Gaussian or a Hann window hardly does; the one-sided one and the even phase
        pull less nearby and more far away. Cut off to one patch of {lengths[0]} frames, the two-sided exponential in
        conjugate phase loses that: beyond some 10 Hz its pull fades and changes sides. Computed exactly; no model and
        no sound is in it.""",
        [
            *(
                pull_of_windows(distances, conjugate(taps), title=f"Windows of {taps} frames", frame_rate=rate)
                for taps in lengths
            ),
            pull_of_phases(distances, both, title=f"Even against conjugate, {lengths[-1]} frames", frame_rate=rate),
        ],
        f"""A tone stands at a quarter of the frame rate, a kernel of unit energy and decay {pull["alpha"]:g} per frame
        so far from it. <b>Up:</b> how strongly its frequency is pulled, the mean over the tone's phases. <b>Solid:</b>
        the pull leads to the tone; <b>dotted:</b> at most phases it leads away. All windows have the same
        &minus;3 dB bandwidth.""",
    )


def _shares(one: dict[str, Any], when: str) -> np.ndarray:
    return np.array(one["shares"][when])


def _cell(found: Measured) -> str:
    """A share in per cent with its interval below it."""
    low, high = found["low"], found["high"]
    interval = "" if low is None or high is None or low == high else f"<small>{_html(low)}–{_html(high)}</small>"
    return f"{_html(found['estimate'] or 0)}{interval}"


def _html(share: float) -> str:
    return escape(number(share))


def _told(found: Measured) -> str:
    return escape(percent(found))


SHOWN = 4
"""Parameters whose elements are drawn one by one: the first, which are those that are read in units."""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far each parameter is from its start, an HTML table."""
    cells = [
        [
            escape(f"{row['name']}, {row['part']}"),
            f"{row['count']:,}",
            f"{row['start']:.3g}<small>spread {row['spread']:.2g}</small>",
            f"{row['now']:.3g}",
            f"{_number(row['distance']['estimate'])}<small>{_interval(row)}</small>",
            _number(row["farthest"]),
        ]
        for row in rows
    ]
    head = ["parameter", "numbers", "start, median", "now, median", "distance", "farthest"]
    return listing("Learned parameters and where they began, in spreads of the starts", head, cells, across=True)


def sections(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """One section, or none where nothing is learned whose start is known."""
    if not rows:
        return []
    shown = [row for row in rows if "weight" not in row["name"]][:SHOWN]
    return [
        Section(
            "Do learned parameters leave their initialisation?",
            escape(conclusion(rows)),
            [
                departures(rows, LEFT, title="Distance from the start"),
                *(start_against_now(row, title=row["part"]) for row in shown),
                table(rows),
            ],
            f"""<b>Distance:</b> mean of |now &minus; start| over a parameter's numbers, in standard deviations of its
            start values; where all begin alike (spread 0) in start values; four fifths of the numbers lie in the
            interval. <b>Tinted:</b> up to {LEFT:g}, told as still at the start. <b>Start against now:</b> each number;
            on the line it has not moved. Weights that are drawn at random are only told of where the run's seed, or the
            model that it went on from, is known.""",
        )
    ]


def _number(distance: float) -> str:
    return "0" if distance == 0 else f"{distance:.2g}" if distance >= 1e-4 else "&lt;0.0001"


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["distance"]["low"], row["distance"]["high"]
    return "" if low == high else f"{_number(low)}–{_number(high)}"
